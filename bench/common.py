"What the benchmarks share: real texts, a judge of students, the machine's name, memory of a process, and where results go"
import gzip, json, os, platform, subprocess, sys, threading, time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
import numpy as np
from leaf_nb.encoding import encode, fast_precision
from leaf_nb.sides import teacher_sides
from leaf_nb.speed import machine as here
from leaf_nb.tasks import load_beir, quality, task_from_pairs
from leaf_nb.teacher import as_teacher
from leaf_nb.texts import doc_corpus

HERE = Path(__file__).parent
SHARED = Path(os.environ.get('LEAF_SHARED', HERE.parent.parent/'shared'))

def shared_texts(name, n=None, column='text'):
    "The first `n` texts of a training file of LEAF_SHARED"
    f = SHARED/'data'/'train'/f'{name}.jsonl.gz'
    if not f.exists(): raise SystemExit(f'No {f}. Set LEAF_SHARED to the folder that holds data/: CONTRIBUTING.md says what has to be in it.')
    with gzip.open(f, 'rt') as h: return [json.loads(l)[column] for l,_ in zip(h, range(n or 10**9))]

def two_tasks(n_documents=10_000, n_queries=2500, scifact=True):
    "SciFact, and documentation of packages that no one learned from"
    _,pairs = doc_corpus(n_documents=n_documents, n_queries=n_queries, progress=False)
    return [*([load_beir(SHARED/'data'/'eval'/'scifact')] if scifact else []), task_from_pairs(pairs, 'documentation')]

class Judge:
    "Asymmetric retention of a student's queries, in percent of the teacher's nDCG@10"
    def __init__(self, teacher, tasks, cache=None):
        self.tasks = [(t, s, quality(t, s.queries, s.documents).mean()) for t in tasks for s in [teacher_sides(teacher, t, cache=cache)]]

    def scores(self, model, prompt=''):
        "One score a query over all tasks, weighted so that each task counts as much: their mean is the mean retention of the tasks"
        was = model.training; model.eval(); n = sum(len(t.queries) for t,_,_ in self.tasks)/len(self.tasks)
        res = [100/full*n/len(t.queries)*quality(t, encode(model, t.queries, prompt), s.documents) for t,s,full in self.tasks]
        model.train(was); return np.concatenate(res)

    def __call__(self, model):
        "Retention on each task, and their mean"
        x = self.scores(model); sizes = [len(t.queries) for t,_,_ in self.tasks]
        each = [float(a.sum()*len(sizes)/len(x)) for a in np.split(x, np.cumsum(sizes)[:-1])]
        return {t.name: e for (t,_,_),e in zip(self.tasks, each)} | dict(mean=float(np.mean(each)))

def fast_teacher(teacher, max_length):
    "A teacher at the precision that is fast here: for what is learned from, or where both sides of a comparison are embedded with it"
    return as_teacher(teacher, max_length, 'cpu', {'bf16': 'bfloat16', 'fp32': 'float32'}[fast_precision('cpu')])

def fresh_ms(code, runs):
    "Milliseconds that `code` takes in a fresh process, its imports included; the median"
    code = f'import time; s = time.perf_counter()\n{code}\nprint(1000*(time.perf_counter()-s))'
    one = lambda: subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.split()[-1]
    return float(np.median([float(one()) for _ in range(runs)]))

def made(info):
    "What a leaf remembers of how it was made, as far as others could make it again"
    return {k: info.get(k) for k in ('student','n_texts','epochs','minutes','bs','lr','embedding_lr_scale','max_length','seed','n_solve',
        'n_units')} | dict(teacher=info['teacher']['name'], cosine=info['history'][-1]['cosine'])

def machine():
    "Processor, cores, GPU and versions"
    return here() | dict(python=platform.python_version(), versions={p: version(p)
        for p in ('torch','transformers','sentence-transformers','datasets','numpy','pyarrow')})

def rss_anon():
    "Anonymous resident memory of this process, MB; mapped pages do not count"
    return next(int(l.split()[1])/1024 for l in Path('/proc/self/status').read_text().splitlines() if l.startswith('RssAnon'))

@contextmanager
def memory():
    "A dict whose `mb` is the largest growth of anonymous memory within the block"
    res,start,stop = dict(mb=0.),rss_anon(),threading.Event()
    def watch():
        while not stop.is_set(): res['mb'] = max(res['mb'], rss_anon()-start); time.sleep(.005)
    t = threading.Thread(target=watch); t.start()
    try: yield res
    finally: stop.set(); t.join(); res['mb'] = round(max(res['mb'], rss_anon()-start), 1)

def save(name, data):
    "Write bench/results/NAME.json"
    f = HERE/'results'/f'{name}.json'; f.parent.mkdir(exist_ok=True)
    f.write_text(json.dumps(data, indent=1)+'\n'); print('wrote', f.relative_to(HERE.parent))
