"Against published and independent numbers, on real sets: slow, opt-in with LEAF_SLOW=1"
import os
import pytest
from datasets import Dataset
from leaf_nb.evaluate import compare, compare_mteb, compare_sts
from leaf_nb.sides import embedder, sides
from leaf_nb.tasks import as_tasks, load_beir, mteb_task, run_mteb
from leaf_nb.teacher import as_teacher

slow = pytest.mark.skipif(os.environ.get('LEAF_SLOW')!='1', reason='some minutes: LEAF_SLOW=1 runs it')

@pytest.fixture(scope='module')
def teacher(): return as_teacher('offline', device='cpu')

def ids(texts, prefix, **columns): return Dataset.from_dict(dict(id=[f'{prefix}{i}' for i in range(len(texts))], text=texts, **columns))

@slow
def test_scifact_is_the_published_number_and_mtebs(teacher, shared):
    task = load_beir(shared/'data'/'eval'/'scifact'); by = embedder(teacher); s = sides(task, by); ours = compare(task, s, s)['teacher']
    assert abs(ours-.6451)<.0005
    rel = {f'q{i}': {f'd{d}': int(g) for d,g in r.items()} for i,r in enumerate(task.qrels)}
    split = dict(corpus=ids(task.documents, 'd', title=['']*len(task.documents)), queries=ids(task.queries, 'q'), relevant_docs=rel,
        top_ranked=None)
    theirs,_ = run_mteb(mteb_task('Retrieval', 'scifact', {'default': {'test': split}}),
        teacher.model) # their search around their own encoding
    assert abs(ours-theirs)<1e-4

@slow
def test_stsb_is_mtebs_number(teacher, shared):
    task, = as_tasks(shared/'data'/'eval'/'stsb'/'test.jsonl'); by = embedder(teacher)
    theirs,_ = run_mteb(mteb_task('STS', 'stsb', {'test': Dataset.from_dict(dict(sentence1=task.left, sentence2=task.right,
        score=task.scores))}), teacher.model)
    assert abs(compare_sts(task, by, by)['teacher']-theirs)<1e-4

@slow
def test_banking77_is_mtebs_number(teacher, shared):
    by = embedder(teacher)
    for task in as_tasks(shared/'data'/'eval'/'banking77'):
        assert abs(compare_mteb(task, by, by)['teacher']-run_mteb(task, teacher.model)[0])<1e-4, task.metadata.name
