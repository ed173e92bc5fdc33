"What the benchmarks share: real texts, the machine's name, memory of a process, and where results go"
import gzip, json, os, platform, threading, time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
SHARED = Path(os.environ.get('LEAF_SHARED', HERE.parent.parent/'shared'))

def shared_texts(name, n=None, column='text'):
    "The first `n` texts of a training file of LEAF_SHARED"
    f = SHARED/'data'/'train'/f'{name}.jsonl.gz'
    if not f.exists(): raise SystemExit(f'No {f}. Set LEAF_SHARED to the folder that holds data/.')
    with gzip.open(f, 'rt') as h: return [json.loads(l)[column] for l,_ in zip(h, range(n or 10**9))]

def machine():
    "Processor, cores, GPU and versions"
    cpu = next((l.split(':')[1].strip() for l in Path('/proc/cpuinfo').read_text().splitlines() if l.startswith('model name')), platform.processor()) if Path('/proc/cpuinfo').exists() else platform.processor()
    import torch
    return dict(cpu=cpu, cores=os.cpu_count(), gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None, python=platform.python_version(),
        versions={p: version(p) for p in ('torch','transformers','sentence-transformers','datasets','numpy','pyarrow')})

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
