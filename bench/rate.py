"""How high the peak rate should be for how many steps: what `distill` takes when none is given rests on this.

`python bench/rate.py`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
The start is solved on the texts that are then trained on, once each, 32 a step, as `distill` does. A few steps at a high rate undo the solved start and have no time to make up for it; many steps at a low rate do not get far. What counts is the cosine to the teacher on held-out texts at
the end, less that of the start."""
import tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from fastcore.script import call_parse
from common import HERE, machine, save
from general_leaf import general_texts
from leaf_nb.teacher import as_teacher
from leaf_nb.train import default_lr, distill

def some(texts, n, seed):
    "`n` texts of a mixture by role and source"
    flat = [(k,t) for k,v in texts.items() for t in v]; res = {}
    for i in np.random.default_rng(seed).permutation(len(flat))[:n]: res.setdefault(flat[i][0], []).append(flat[i][1])
    return res

def plot(rows, path):
    d = pd.DataFrame(rows); fig,ax = plt.subplots(figsize=(6,3.2))
    for n,g in d.groupby('steps'):
        g = g.assign(gain=g.cosine-g.start).groupby('lr').gain.mean(); l, = ax.plot(g.index, g, 'o-', ms=4, label=f'{n} steps')
        ax.axvline(default_lr(n), c=l.get_color(), ls=':', lw=1)
    ax.axhline(0, c='k', lw=.8)
    ax.set(xscale='log', xlabel='peak rate (dotted: the default)', ylabel='cosine gained'); ax.legend(fontsize=8); ax.grid(alpha=.3)
    ax.set_xticks(sorted(d.lr.unique()), [f'{r:g}' for r in sorted(d.lr.unique())]); ax.minorticks_off(); fig.tight_layout(); fig.savefig(path, dpi=110)

@call_parse
def main(
    sizes:str='600,2400,9600', # Numbers of texts
    rates:str='5e-5,1e-4,2e-4,4e-4,8e-4', # Peak rates
    seeds:int=2, # Choices of texts, and orders of training
    quick:bool=False, # The smallest size, two rates, one seed: only to see that the script works; nothing is saved
):
    "Prints a line a run; writes bench/results/rate.json and .png unless `quick`"
    sizes,rates = [int(x) for x in sizes.split(',')],[float(x) for x in rates.split(',')]
    if quick: sizes,rates,seeds = sizes[:1],rates[:2],1
    begun,rows,tmp = time.perf_counter(),[],Path(tempfile.mkdtemp())
    teacher,texts = as_teacher('offline', 128, 'cpu'),general_texts(200_000, 20_000)
    for n in sizes:
        for seed in range(seeds):
            for lr in rates:
                info = distill(teacher, some(texts, n, seed), 'prune:2', tmp/f'{n}-{seed}-{lr}', cache=tmp/f'vectors-{n}-{seed}', lr=lr,
                    max_length=128, seed=seed, progress=False).info
                first,last = info['history'][0],info['history'][-1]
                rows.append(dict(texts=n, steps=last['step'], seed=seed, lr=lr, start=first['cosine'], cosine=last['cosine']))
                print(f'{time.perf_counter()-begun:5.0f} s', {k: round(v, 5) for k,v in rows[-1].items()}, flush=True)
    if quick: return
    save('rate', dict(command='python bench/rate.py', machine=machine(), seconds=time.perf_counter()-begun, rows=rows))
    plot(rows, HERE/'results'/'rate.png')
