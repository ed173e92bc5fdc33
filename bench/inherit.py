"""Is robustness to truncation and quantisation inherited? Three teachers, a leaf trained on each, and each leaf's curves against its own teacher's.

The teachers: the offline one; one tuned with Matryoshka sizes and spreading (`bench/make_teacher.py`); the offline one with its space turned so that its principal axes come last, a negative control that no truncation survives. What would refute the claim: a leaf of the second that falls as the first's, or a leaf of the third that does not fall.
`python bench/inherit.py --second DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`."""
import json, tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn
from common import HERE, fast_teacher, machine, save, shared_texts, two_tasks
from leaf_nb.diagnose import margin
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.inherit import PRECISIONS, grid
from leaf_nb.metrics import cosine, paired_bootstrap
from leaf_nb.sides import embedder, sides
from leaf_nb.train import distill

MAX = 128 # tokens a text

def axes_last(model, texts):
    "`model` with its space turned: what varies most stands last"
    q = np.linalg.eigh(np.cov(encode(model, texts, max_length=MAX).T))[1].astype(np.float32); n = len(q)
    return SentenceTransformer(modules=[*model, Dense(n, n, bias=False, activation_function=nn.Identity(),
        init_weight=torch.from_numpy(q.T.copy()))], device='cpu')

def plot(rows, path):
    "Curves of each teacher and of its leaf, mean of the tasks"
    d = pd.DataFrame(rows)
    names = list(d.teacher_name.unique())
    fig,axes = plt.subplots(1, len(names), figsize=(4*len(names), 3.2), sharey=True)
    for ax,name in zip(axes, names):
        for i,p in enumerate(PRECISIONS):
            g = d[(d.teacher_name==name)&(d.precision==p)].groupby('dim')[['teacher','asymmetric','standard']].mean()
            g = 100*g/d[(d.teacher_name==name)&(d.precision=='float32')].groupby('dim')[['teacher']].mean().iloc[-1].item()
            ax.plot(g.index, g.teacher, '-', c=f'C{i}', label=p); ax.plot(g.index, g.asymmetric, '--', c=f'C{i}')
        ax.set(xscale='log', title=name, xlabel='dimensions'); ax.set_xticks(g.index, g.index); ax.minorticks_off(); ax.grid(alpha=.3)
    axes[0].set_ylabel('% of the full teacher’s nDCG@10')
    axes[0].legend(fontsize=8, title='teacher; dashes: its leaf', title_fontsize=8)
    fig.tight_layout()
    fig.savefig(path, dpi=110)

def of_teacher(name, model, tasks, texts, out, epochs, seed):
    "A leaf of this teacher and what is measured of both, kept in `out`"
    if (f := out/f'{name}.json').exists(): return json.loads(f.read_text())
    res,full = dict(rows=[], drift=[], margin=[], grid_seconds={}),model.get_embedding_dimension()
    quick = lambda m: fast_teacher(m, MAX)
    teacher = quick(model)
    leaf = distill(teacher, texts, 'prune:2', out/name.replace(' ', '-'), max_length=MAX, epochs=epochs, seed=seed, n_solve=6000)
    for task in tasks:
        both = [sides(task, embedder(m)) for m in (teacher, quick(leaf.model))]
        start = time.perf_counter(); g = grid(task, *both, [full//2**i for i in range(5)])
        res['grid_seconds'][f'{name}, {task.name}'] = time.perf_counter()-start
        full_size = g.table[(g.table.dim==full)&(g.table.precision=='float32')].iloc[0]
        res['margin'].append(dict(teacher_name=name, task=task.name, cosine=float(cosine(both[1].queries, both[0].queries).mean()),
            retention=full_size.retention_asymmetric, curve=margin(task, both[0]).to_dict('records')))
        kept = {m: [paired_bootstrap(g.scores[m,d,p], g.scores['teacher',d,p]) for d,p in zip(g.table.dim, g.table.precision)]
            for m in ('asymmetric','standard')} # in the same cell, query by query
        ends = {f'{m}_{e}': [getattr(i, e) for i in v] for m,v in kept.items() for e in ('low','high')}
        res['rows'] += g.table.assign(teacher_name=name, task=task.name, **ends).to_dict('records')
        res['drift'] += [dict(teacher_name=name, task=task.name, mode=m, cosine=leaf.info['history'][-1]['cosine'], **g.parallel(m))
            for m in ('asymmetric','standard')]
        print(pd.DataFrame(res['drift'][-2:]).round(2).to_string(index=False), flush=True)
    f.write_text(json.dumps(res, default=float)); return res

@call_parse
def main(
    second:str=None, # Folder of the second teacher, from bench/make_teacher.py
    out:str=None, # Folder of the leaves, where a run that was stopped goes on; default: a temporary one
    n:int=20_000, # Texts to learn from, half of them queries
    epochs:float=2., # Passes
    seed:int=0, # Of the training
    quick:bool=False, # A fiftieth: only to see that the script works; nothing is saved
):
    "Prints the table; writes bench/results/inherit.json and .png unless `quick`"
    if second is None: raise SystemExit('Where is the second teacher? Make it: python bench/make_teacher.py --out DIR; then --second DIR')
    k = 50 if quick else 1
    n //= k
    texts = dict(query=shared_texts('queries', n//2), document=shared_texts('passages', n//4)+shared_texts('glosses', n//4))
    offline = offline_teacher('cpu')
    models = {'offline': offline, 'Matryoshka': SentenceTransformer(second, device='cpu'),
        'axes last': axes_last(offline, texts['document'][:6000])}
    tasks = two_tasks(3000//k, 1500//k, not quick)
    out = Path(out or tempfile.mkdtemp()); got = [of_teacher(name, m, tasks, texts, out, epochs, seed) for name,m in models.items()]
    rows,drift,stand = (sum((g[k] for g in got), []) for k in ('rows','drift','margin'))
    took = {k: v for g in got for k,v in g['grid_seconds'].items()}
    if quick: return
    save('inherit', dict(command='python bench/inherit.py --second DIR', machine=machine(),
        settings=dict(texts=n, epochs=epochs, seed=seed, max_length=MAX), grid_seconds=took, drift=drift, margin=stand,
        rows=rows))
    plot(rows, HERE/'results'/'inherit.png')
