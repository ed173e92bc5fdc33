"""How high the peak rate should be for how many steps, and how much higher that of word embeddings: what `distill` takes when none is given rests on this.

`python bench/rate.py`; `--part rates` or `--part scales` measures one of the two; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
The rates are compared with one for all weights, the scales of word embeddings at the default rate.
The start is solved on the texts that are then trained on, once each, 32 a step, as `distill` does. A few steps at a high rate undo the solved start and have no time to make up for it; many steps at a low rate do not get far. What counts is the cosine to the teacher on held-out texts at
the end, less that of the start."""
import json, tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from fastcore.script import call_parse
from common import HERE, machine, save
from general_leaf import general_texts
from leaf_nb.loop import default_lr
from leaf_nb.teacher import as_teacher
from leaf_nb.train import distill

def some(texts, n, seed):
    "`n` texts of a mixture by role and source"
    flat = [(k,t) for k,v in texts.items() for t in v]; res = {}
    for i in np.random.default_rng(seed).permutation(len(flat))[:n]: res.setdefault(flat[i][0], []).append(flat[i][1])
    return res

def plot(rows, path):
    fig,axes = plt.subplots(1, 2, figsize=(10,3.2))
    for ax,part,x,label in zip(axes, rows, ('lr','scale'), ('peak rate of all weights (dotted: the default)', 'rate of word embeddings, in units of the others')):
        d = pd.DataFrame(rows[part])
        for n,g in d.groupby('steps'):
            g = g.assign(gain=g.cosine-g.start).groupby(x).gain.mean(); l, = ax.plot(g.index, g, 'o-', ms=4, label=f'{n:,} steps')
            if x=='lr': ax.axvline(default_lr(n), c=l.get_color(), ls=':', lw=1)
        ax.axhline(0, c='k', lw=.8)
        ax.set(xscale='log', xlabel=label, ylabel='cosine gained'); ax.legend(fontsize=8); ax.grid(alpha=.3)
        ax.set_xticks(sorted(d[x].unique()), [f'{r:g}' for r in sorted(d[x].unique())]); ax.minorticks_off()
    fig.tight_layout(); fig.savefig(path, dpi=110)

@call_parse
def main(
    sizes:str='600,2400,9600', # Numbers of texts
    rates:str='5e-5,1e-4,2e-4,4e-4,8e-4', # Peak rates
    scales:str='1,3,10,30', # Rates of word embeddings, in units of the others
    seeds:int=2, # Choices of texts, and orders of training
    part:str='rates,scales', # What to measure; the other stays as it was
    quick:bool=False, # The smallest size, two of each, one seed: only to see that the script works; nothing is saved
):
    "Prints a line a run; writes bench/results/rate.json and .png unless `quick`"
    numbers = lambda s: [float(x) for x in s.split(',')]; sizes,rates,scales = map(numbers, (sizes,rates,scales))
    if quick: sizes,rates,scales,seeds = sizes[:1],rates[:2],scales[:2],1
    tmp = Path(tempfile.mkdtemp()); teacher,texts = as_teacher('offline', 128, 'cpu'),general_texts(200_000, 20_000)
    f = HERE/'results'/'rate.json'; res = json.loads(f.read_text()) if f.exists() else {}
    plan = dict(rates=[(int(n),s,dict(lr=r, embedding_lr_scale=1.)) for n in sizes for s in range(seeds) for r in rates],
        scales=[(int(n),s,dict(embedding_lr_scale=x)) for n in sizes for s in range(seeds) for x in scales])
    for k in part.split(','):
        begun,rows = time.perf_counter(),[]
        for i,(n,seed,kw) in enumerate(plan[k]):
            info = distill(teacher, some(texts, n, seed), 'prune:2', tmp/f'{k}-{i}', cache=tmp/f'vectors-{n}-{seed}', max_length=128,
                seed=seed, progress=False, **kw).info
            first,last = info['history'][0],info['history'][-1]
            rows.append(dict(texts=n, steps=last['step'], seed=seed, lr=info['used_lr'], scale=info['embedding_lr_scale'],
                start=first['cosine'], cosine=last['cosine']))
            print(f'{time.perf_counter()-begun:5.0f} s', {k: round(v, 5) for k,v in rows[-1].items()}, flush=True)
        res[k] = dict(machine=machine(), seconds=time.perf_counter()-begun, rows=rows)
    if quick: return
    save('rate', dict(command='python bench/rate.py') | {k: res[k] for k in plan if k in res})
    plot({k: res[k]['rows'] for k in plan if k in res}, HERE/'results'/'rate.png')
