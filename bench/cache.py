"The teacher cache against its neighbours: embedding, random rows, memory, overhead. `python bench/cache.py` takes some 15 minutes and 7 GB of disk"
import json, shutil, subprocess, sys, tempfile, time
from pathlib import Path
import numpy as np
from fastcore.script import call_parse
from common import HERE, machine, memory, save, shared_texts

def median_us(f, n=2000):
    "Median microseconds of `f(i)`"
    for i in range(50): f(i)
    ts = []
    for i in range(n): s = time.perf_counter(); f(i); ts.append(time.perf_counter()-s)
    return round(float(np.median(ts))*1e6, 2)

def encode(tmp, n_queries=20_000, n_passages=4_000, runs=3):
    "`embed`, durable writes included, against `SentenceTransformer.encode` of the same list"
    from leaf_nb.cache import embed
    from leaf_nb.encoding import offline_teacher
    texts = shared_texts('queries', n_queries)+shared_texts('passages', n_passages)
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    m = offline_teacher('cpu'); m.max_seq_length = 128; m.encode(texts[:500]); took = dict(embed=[], encode=[])
    for r in range(runs):
        s = time.perf_counter(); v = embed(m, texts, tmp/f'v{r}', progress=False); took['embed'].append(time.perf_counter()-s)
        s = time.perf_counter(); e = m.encode(texts, show_progress_bar=False)
        took['encode'].append(time.perf_counter()-s); print(took, flush=True)
    med = {k: float(np.median(t)) for k,t in took.items()}; cos = (np.asarray(v, np.float32)*e).sum(1)
    return dict(texts=len(texts), distinct=len(set(texts)), seconds={k: [round(x,2) for x in t] for k,t in took.items()},
        texts_per_second={k: round(len(texts)/t,1) for k,t in med.items()}, throughput_ratio=round(med['encode']/med['embed'],3),
        smallest_cosine=float(cos.min()))

def gather(tmp, n=2_000_000, dim=768, rows=32):
    "Random rows of a large store against one raw memory map and against `datasets`"
    from leaf_nb.cache import embed
    rng = np.random.default_rng(0); block = rng.normal(size=(4096,dim)).astype(np.float16)
    s = time.perf_counter()
    embed(lambda ts: np.roll(block[:len(ts)], int(ts[0]), 0), (str(i) for i in range(n)), tmp/'v', progress=False)
    made = time.perf_counter()-s
    raw = np.lib.format.open_memmap(tmp/'raw.npy', 'w+', np.float16, (n,dim))
    for i in range(0, n, 4096): raw[i:i+4096] = np.roll(block[:min(4096,n-i)], i, 0)
    raw.flush(); del raw
    from leaf_nb.store import Vectors
    with memory() as m:
        v,raw = Vectors(tmp/'v'),np.load(tmp/'raw.npy', mmap_mode='r'); ds = v.dataset().with_format('numpy', columns=['vector'])
        idx = [rng.integers(0, n, rows) for _ in range(4000)]
        assert all((v[i]==raw[i]).all() for i in idx) # and both are in memory now
        with memory() as own:
            for i in idx: v[i]
        us = dict(store=[], memmap=[], datasets=[])
        for _ in range(5):
            us['store'].append(median_us(lambda i: v[idx[i]]))
            us['memmap'].append(median_us(lambda i: raw[idx[i]]))
            us['datasets'].append(median_us(lambda i: ds[idx[i]]['vector'], 200)); print(us, flush=True)
    med = {k: float(np.median(x)) for k,x in us.items()}
    return dict(rows=n, dim=dim, gathered=rows, made_in_seconds=round(made,1), microseconds=med, all_microseconds=us,
        of_raw_memmap=round(med['memmap']/med['store'],3), times_datasets=round(med['datasets']/med['store'],1),
        rss_anon_mb_reading=own['mb'], rss_anon_mb_all_three=m['mb'])

def overhead(tmp, n=1_000_000, dim=384):
    "A million short texts by a teacher that takes no time"
    from leaf_nb.cache import embed
    texts,block = [f'what is number {i}' for i in range(n)],np.random.default_rng(0).normal(size=(4096,dim)).astype(np.float32)
    embed(lambda ts: block[:len(ts)], texts[:5000], tmp/'warm', progress=False)
    with memory() as m:
        s = time.perf_counter(); embed(lambda ts: block[:len(ts)], texts, tmp/'v', progress=False)
        took = time.perf_counter()-s
    s = time.perf_counter(); embed(lambda ts: block[:len(ts)], texts, tmp/'v', progress=False); again = time.perf_counter()-s
    return dict(texts=n, dim=dim, microseconds_a_text=round(took/n*1e6,2), microseconds_when_it_is_all_there=round(again/n*1e6,2),
        rss_anon_mb=m['mb'])

def labels(tmp, n=40_000, dim=1024, way=None):
    "The label-column recipe of sentence-transformers' examples against a store: peak memory, file size, a batch of 32"
    if way is None:
        return dict(rows=n, dim=dim, **{w: in_process(f'labels:{w}')
            for w in ('leaf_nb store','label column, numpy rows','label column, tolist')})
    from datasets import Dataset, load_from_disk
    from leaf_nb.cache import embed
    from leaf_nb.store import Vectors
    texts,v = [f'text {i}' for i in range(n)],np.random.default_rng(0).normal(size=(n,dim)).astype(np.float32)
    def column(values): Dataset.from_dict(dict(sentence=texts, label=values)).save_to_disk(str(tmp/'d'))
    def reader(): ds = load_from_disk(str(tmp/'d')).with_format('torch'); return lambda i: ds[i]['label']
    ways = {'label column, tolist': (lambda: column(v.tolist()), reader), 'label column, numpy rows': (lambda: column(list(v)), reader),
        'leaf_nb store': (lambda: embed(v, texts, tmp/'d', progress=False), lambda: Vectors(tmp/'d').__getitem__)}
    make,read = ways[way]
    with memory() as m: make()
    f,idx = read(),[np.random.default_rng(i).integers(0, n, 32) for i in range(300)]
    return dict(peak_mb=m['mb'], file_mb=round(sum(f.stat().st_size for f in (tmp/'d').rglob('*') if f.is_file())/1e6, 1),
        microseconds_for_32_rows=median_us(lambda i: f(idx[i]), 300))

def plot(r, f):
    import matplotlib; matplotlib.use('agg')
    import matplotlib.pyplot as plt
    fig,axs = plt.subplots(1, 3, figsize=(12,2.2), layout='constrained')
    def bars(ax, d, title, fmt='%.3g', log=False):
        b = ax.barh(list(d), list(d.values()), color=['C0']+['C7']*(len(d)-1))
        ax.bar_label(b, fmt=fmt, padding=3); ax.set(title=title, xscale='log' if log else 'linear')
        ax.margins(x=.3); ax.invert_yaxis()
    bars(axs[0], {'embed, on disk': r['encode']['texts_per_second']['embed'],
        'encode, in memory': r['encode']['texts_per_second']['encode']}, 'texts/s, mixed corpus', '%.0f')
    g = r['gather']['microseconds']
    bars(axs[1], {'this store': g['store'], 'numpy.memmap': g['memmap'], 'datasets': g['datasets']},
        f"µs for 32 random rows of {r['gather']['rows']:,}", '%.1f', True)
    bars(axs[2], {k: v['peak_mb'] for k,v in r['labels'].items() if isinstance(v, dict)},
        f"MB to make {r['labels']['rows']:,} x {r['labels']['dim']}", '%.0f')
    fig.savefig(f, dpi=110)

parts = dict(encode=encode, gather=gather, overhead=overhead, labels=labels)

def in_process(part):
    "What `part` gives in a process of its own, so that memory is its own too"
    with subprocess.Popen([sys.executable, __file__, '--part', part, '--here_'], stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout: print(line, end='', flush=True); last = line
    if run.returncode: sys.exit(f'{part} failed')
    return json.loads(last)

def here(part):
    "Run a part in this process, in a folder that goes away"
    name,*way = part.split(':'); tmp = Path(tempfile.mkdtemp())
    try: return parts[name](tmp, **(dict(way=way[0]) if way else {}))
    finally: shutil.rmtree(tmp)

@call_parse
def main(
    part:str=None, # Only this part: encode, gather, overhead or labels; printed, not saved
    here_:bool=False, # In this process
):
    "The four parts one after the other"
    if part: return print(json.dumps(here(part) if here_ else in_process(part)))
    res = dict(command='python bench/cache.py', machine=machine()) | {p: in_process(p) for p in parts}
    save('cache', res); plot(res, HERE/'results'/'cache.png')
    e,g,o,l = (res[k] for k in parts)
    print(f"embed {e['throughput_ratio']} x encode; 32 rows of {g['rows']:,}: {g['microseconds']['store']} us, {g['of_raw_memmap']} of a "
        f"raw memory map, {g['times_datasets']} x datasets; {o['microseconds_a_text']} us of our own a text, {o['rss_anon_mb']} MB")
