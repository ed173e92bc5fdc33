"""Is robustness to truncation and quantisation inherited? Three teachers, a leaf trained on each, and each leaf's curves against its own teacher's.

The teachers: the offline one; one tuned with Matryoshka sizes and spreading (`bench/make_teacher.py`); the offline one with its space turned so that its principal axes come last, a negative control that no truncation survives. What would refute the claim: a leaf of the second that falls as the first's, or a leaf of the third that does not fall.
`python bench/inherit.py --second DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`."""
import tempfile
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn
from common import HERE, SHARED, machine, save, shared_texts
from leaf_nb.evaluate import embedder, sides
from leaf_nb.inherit import PRECISIONS, grid
from leaf_nb.tasks import load_beir, task_from_pairs
from leaf_nb.teacher import as_teacher, encode, fast_precision, offline_teacher
from leaf_nb.texts import doc_corpus
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

@call_parse
def main(
    second:str=None, # Folder of the second teacher, from bench/make_teacher.py
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
    pairs = doc_corpus(n_documents=10_000//k, n_queries=2500//k, progress=False)[1]
    tasks = [task_from_pairs(pairs, 'documentation'), *([] if quick else [load_beir(SHARED/'data'/'eval'/'scifact')])]
    rows,drift = [],[]
    for name,model in models.items():
        teacher = as_teacher(model, MAX, precision={'bf16': 'bfloat16', 'fp32': 'float32'}[fast_precision('cpu')])
        leaf = distill(teacher, texts, 'prune:2', tempfile.mkdtemp()+'/leaf', max_length=MAX, epochs=epochs, seed=seed, n_solve=6000)
        for task in tasks:
            full = model.get_embedding_dimension()
            g = grid(task, sides(task, embedder(teacher)), sides(task, embedder(leaf.model, leaf.info['prompts'], MAX)),
                [full//2**i for i in range(5)])
            rows += g.table.assign(teacher_name=name, task=task.name).to_dict('records')
            drift += [dict(teacher_name=name, task=task.name, mode=m, cosine=leaf.info['history'][-1]['cosine'], **g.parallel(m))
                for m in ('asymmetric','standard')]
            print(pd.DataFrame(drift[-2:]).round(2).to_string(index=False), flush=True)
    if quick: return
    save('inherit', dict(command='python bench/inherit.py --second DIR', machine=machine(),
        settings=dict(texts=n, epochs=epochs, seed=seed, max_length=MAX), drift=drift, rows=rows))
    plot(rows, HERE/'results'/'inherit.png')
