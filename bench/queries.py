"""What query-like texts made from documents are worth, against the real queries of the same documents.

One leaf for each kind of text, all else equal: as many texts, as many steps, the same layers. The first half of the texts are documents; the second half of the source
documents appears in the form that is measured. `LEAF_SHARED` names the folder that holds `data/train/medquad_pairs.jsonl.gz` and `data/train/queries.jsonl.gz` (default: ../shared)."""
import tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from fastcore.script import call_parse
from common import HERE, SHARED, machine, save
from leaf_nb.encoding import encode
from leaf_nb.metrics import cosine, paired_bootstrap
from leaf_nb.queries import queries_from
from leaf_nb.sides import teacher_sides
from leaf_nb.tasks import quality, task_from_pairs
from leaf_nb.teacher import Teacher, as_teacher
from leaf_nb.texts import doc_corpus, read_table
from leaf_nb.train import distill

MADE = {'first sentences': 'sentence', 'spans': 'span', 'keywords': 'keywords', 'sentences and spans': ('sentence','span')}
ARMS = ('documents only', *MADE, 'real queries', "another domain's queries")

def shared(name):
    "A file of real data, or None with a message"
    f = SHARED/'data'/'train'/name
    if not f.exists(): print(f'No {f}: what needs it is skipped. Set LEAF_SHARED to the folder that holds data/.')
    return f if f.exists() else None

def documentation(n_documents, n_queries):
    "Pairs to learn from (query, text, document), and the task of held-out packages"
    rest,task = doc_corpus(n_documents=n_documents, n_queries=n_queries, progress=False)
    return rest.assign(document=rest.title+': '+rest.text), task_from_pairs(task, 'documentation')

def medquad(n_documents, n_queries):
    "The same of medical questions and answers, split by what they are about; a question that heads its own answer is cut off"
    if (f := shared('medquad_pairs.jsonl.gz')) is None: return None
    m = read_table(f, ['question','answer','focus'])
    m = m.assign(query=m.question, text=m.answer.str.replace(r'^[^.!?]{5,150}\?\s*', '', regex=True))
    m = m[m.text.str.split().str.len()>=10].drop_duplicates('query').drop_duplicates('text').sample(frac=1, random_state=0)
    held = m.focus.map(m.groupby('focus', sort=False).size().cumsum().shift(fill_value=0)) < n_documents*1.02
    task = m[held][:n_documents].reset_index(drop=True); task['asked'] = task.index<n_queries
    return m[~held].assign(document=m.text).reset_index(drop=True), task_from_pairs(task[['query','text','asked']], 'medquad')

def arm_texts(arm, pairs, foreign, n, seed):
    "`n` texts by role: half documents, half what `arm` makes of as many others"
    h = n//2; docs,rest = pairs.document.tolist()[:n], pairs[h:2*n]
    if arm=='documents only': return {'document': docs}
    if arm in MADE: qs = queries_from(rest.text.tolist(), MADE[arm], seed=seed)
    else: qs = rest['query'].tolist() if arm=='real queries' else foreign
    if len(qs)<n-h: raise ValueError(f"{arm}: saw {len(qs)} texts, wanted {n-h}. Lower --n_texts.")
    return {'document': docs[:h], 'query': qs[:n-h]}

def remembering(t):
    "A teacher without prompts that embeds no text twice"
    seen = {}
    def fn(texts, *_):
        new = [x for x in dict.fromkeys(texts) if x not in seen]
        if new: seen.update(zip(new, t(new)))
        return np.stack([seen[x] for x in texts])
    return Teacher(fn, t.identity, t.prompts, t.model, t.max_length)

def measure(teacher, pairs, task, foreign, n, seeds, kw):
    "A row a run, and per-query scores by arm, averaged over seeds: leaf queries against teacher documents, as `compare` has them"
    sides = teacher_sides(teacher, task); score = lambda q: quality(task, q, sides.documents)
    runs,per = [],{'teacher': [score(sides.queries)]}
    for seed in range(seeds):
        for arm in ARMS if foreign else ARMS[:-1]:
            start = time.perf_counter(); texts = arm_texts(arm, pairs, foreign, n, seed)
            with tempfile.TemporaryDirectory() as d: leaf = distill(teacher, texts, out=Path(d)/'leaf', seed=seed, progress=False, **kw)
            took = time.perf_counter()-start; v = encode(leaf.model, task.queries, max_length=kw['max_length'])
            per.setdefault(arm, []).append(score(v)); r = paired_bootstrap(per[arm][-1], per['teacher'][0])
            runs.append(dict(task=task.name, arm=arm, seed=seed, steps=leaf.info['steps'],
                words=sum(len(t.split()) for ts in texts.values() for t in ts), seconds=took, cosine=float(cosine(v, sides.queries).mean()),
                retention=r.value, low=r.low, high=r.high))
            print(f"{task.name:14} {arm:25} seed {seed}: {r.value:.1%} ({r.low:.1%} to {r.high:.1%}), {took:.0f} s", flush=True)
    return runs, {k: np.mean(v, 0) for k,v in per.items()}

def summary(task, per):
    "A row an arm: retention, and what it gains over documents only, with paired 95% intervals over queries, scores averaged over seeds"
    rows,t,base = [],per['teacher'],per['documents only']
    for arm in [a for a in ARMS if a in per]:
        r = paired_bootstrap(per[arm], t); d = paired_bootstrap(per[arm], base, stat='difference')
        rows.append(dict(task=task.name, arm=arm, ndcg=float(per[arm].mean()), teacher=float(t.mean()), retention=r.value, low=r.low,
            high=r.high) | {k: x/float(t.mean()) for k,x in zip(('gain','gain_low','gain_high'), d)})
    return rows

def plot(table, f):
    "Horizontal bars with intervals, one panel a task"
    tasks = list(dict.fromkeys(table.task)); _,axs = plt.subplots(1, len(tasks), figsize=(5*len(tasks),3.2), sharey=True, squeeze=False)
    for ax,task in zip(axs[0], tasks):
        t = table[table.task==task][::-1]; colors = ['C2' if a in MADE else 'C7' for a in t.arm]
        ax.bar_label(ax.barh(t.arm, t.retention, xerr=[t.retention-t.low, t.high-t.retention], color=colors, capsize=3), fmt='{:.1%}',
            label_type='center', color='w')
        ax.set(title=task, xlim=(t.low.min()-.1, None), xlabel=f"share of the teacher's nDCG@10 ({t.teacher.iloc[0]:.3f}), 95%")
    plt.savefig(f, dpi=150, bbox_inches='tight')

@call_parse
def main(
    n_texts:int=3000, # Training texts of each arm
    n_documents:int=5000, # Documents of each task
    n_queries:int=1500, # Queries of each task
    max_length:int=64, # Tokens a text
    seeds:int=2, # Runs of each arm
    student:str='prune:2', # As in `distill`
):
    "Distil one leaf for each kind of training text, and compare them on real queries"
    start,kw = time.perf_counter(),dict(student=student, epochs=1, bs=32, max_length=max_length, n_solve=2500, n_val=100)
    teacher = remembering(as_teacher('offline', max_length, 'cpu')); runs,rows = [],[]
    foreign = read_table(f).text.drop_duplicates().sample(n_texts, random_state=0).tolist() if (f := shared('queries.jsonl.gz')) else None
    for domain in (documentation, medquad):
        if (data := domain(n_documents, n_queries)) is None: continue
        r,per = measure(teacher, *data, foreign, n_texts, seeds, kw); runs += r; rows += summary(data[1], per)
    table = pd.DataFrame(rows); plot(table, HERE/'results'/'queries.png')
    print(table.assign(**{k: table[k].map('{:.1%}'.format) for k in ('retention','low','high','gain','gain_low',
        'gain_high')}).round(4).to_string(index=False))
    settings = kw | dict(n_texts=n_texts, n_documents=n_documents, n_queries=n_queries, seeds=list(range(seeds)), teacher=teacher.name)
    save('queries', dict(command='python bench/queries.py', table=rows, runs=runs, settings=settings, machine=machine(),
        seconds=time.perf_counter()-start))
