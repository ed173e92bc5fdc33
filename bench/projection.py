"""Which way should a projection between student and teacher go, and should it learn? The variants of figure 4 of jina-embeddings-v5-text (arXiv 2602.15547), at a small scale.

`python bench/projection.py`; `--teacher DIR` for a teacher of another width (bench/make_teacher.py makes one), `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
The student is the first two layers of the offline teacher, so that its pooled states are not yet in anybody's space. It learns from the same texts under 1 - cos (equation 1). Projections are dropped before judging: queries and documents are both the student's own vectors.
The paper: student to teacher, trained, is best; teacher to student, trained, fails, since both sides can agree on a constant; a frozen random one works either way."""
import tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from datasets import Dataset
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import nn
from common import HERE, machine, save, shared_texts, two_tasks
from leaf_nb.batches import Batches, tokenise
from leaf_nb.cache import embed
from leaf_nb.encoding import fast_precision, offline_teacher
from leaf_nb.loop import Trainer, for_training, lr_at, spread
from leaf_nb.losses import cosine_loss
from leaf_nb.metrics import normalize, paired_bootstrap
from leaf_nb.sides import leaf_sides, teacher_sides
from leaf_nb.student import add_head, head_of, prune, solve_head, states
from leaf_nb.tasks import quality
from leaf_nb.teacher import as_teacher
from leaf_nb.texts import as_prompts

MAX = 128 # tokens a text
VARIANTS = ('student to teacher, trained','student to teacher, solved, then trained','student to teacher, random, frozen',
    'teacher to student, random, frozen','teacher to student, trained','not trained')

def random_map(n_in, n_out, seed):
    "A linear map with orthonormal rows or columns"
    m = nn.Linear(n_in, n_out); torch.manual_seed(seed); nn.init.orthogonal_(m.weight); nn.init.zeros_(m.bias); return m

def student_of(variant, texts, vectors, seed):
    "A student, its targets, and the function of both that is made small"
    body,dim = prune(offline_teacher('cpu'), [0,1]),vectors.shape[1]; w = body.get_embedding_dimension()
    if variant.startswith('teacher'):
        back = random_map(dim, w, seed); s = SentenceTransformer(modules=[*body, Normalize()], device='cpu')
        if 'frozen' in variant:
            with torch.no_grad(): return s, normalize(back(torch.from_numpy(vectors)).numpy()), cosine_loss
        s[0].back = back # a part of the student, so that its optimizer has it
        return s, vectors, lambda z,t: (1-torch.cosine_similarity(z, back(t))).mean()
    s = add_head(body, dim); lin = head_of(s).linear; lin.load_state_dict(random_map(w, dim, seed).state_dict())
    if 'solved' in variant: solve_head(s, states(s, texts[:4000], max_length=MAX), vectors[:4000])
    lin.requires_grad_('frozen' not in variant); return s, vectors, cosine_loss

def train(s, tokens, targets, loss, lr, seed):
    "Once through all texts"
    n = np.arange(len(tokens))
    with for_training(s, p := fast_precision('cpu')):
        t = Trainer(s, tokens, targets, Batches(tokens.lengths, [n], None, 32, seed), n[:100], loss, lr, p)
        if hasattr(s[0], 'back'): s[0].back.requires_grad_(True); t.reset()
        for t.done in range(t.batches.per_epoch): t.step(t.batches[t.done], lr_at(t.done, t.batches.per_epoch, lr))

def own(s):
    "The student without its projection"
    return SentenceTransformer(modules=[*[m for m in s if not isinstance(m, (Dense,Normalize))], Normalize()], prompts=s.prompts,
        device='cpu')

def plot(d, path):
    "Retention of each variant, and how far its vectors are spread out"
    d = d[::-1]; fig,axes = plt.subplots(1, 2, figsize=(9.5,2.6), sharey=True)
    axes[0].errorbar(d.retention, range(len(d)), xerr=[d.retention-d.low, d.high-d.retention], fmt='o', capsize=3)
    axes[1].barh(range(len(d)), d.spread)
    axes[0].set_yticks(range(len(d)), d.variant)
    axes[0].set(xlabel='% of teacher nDCG@10, both sides by the student'); axes[1].set(xlabel='spread of its vectors; 0: all alike')
    [a.grid(axis='x', alpha=.3) for a in axes]; fig.tight_layout(); fig.savefig(path, dpi=110)

@call_parse
def main(
    teacher:str='offline', # Another is a folder
    n:int=12_000, # Texts, half of them queries
    lr:float=5e-4, # Peak rate
    seeds:int=3, # Runs of each
    quick:bool=False, # A tenth, one seed: only to see that the script works; nothing is saved
):
    "Prints the table; writes bench/results/projection.json and .png unless `quick`"
    if quick: n,seeds = n//10,1
    start = time.perf_counter()
    t = as_teacher(teacher, MAX, 'cpu')
    prompts = {r: p['student'] for r,p in as_prompts(None, t.prompts).items()}
    texts = dict(document=shared_texts('passages', n//4)+shared_texts('glosses', n//4), query=shared_texts('queries', n//2))
    vectors = np.asarray(embed(t, texts, Path(tempfile.mkdtemp())/'v'), np.float32)
    flat,role = texts['document']+texts['query'],['document']*len(texts['document'])+['query']*len(texts['query'])
    tokens = tokenise(t.model, Dataset.from_dict(dict(text=flat, role=role)), Path(tempfile.mkdtemp())/'tokens.arrow', prompts, MAX)
    tasks = two_tasks(400 if quick else 4000, 100 if quick else 1000, not quick)
    def scores(sides): return [quality(k, s.queries, s.documents) for k,s in zip(tasks, sides)]
    full = scores([teacher_sides(t, k) for k in tasks]); size = sum(map(len, full))/len(full) # so that each task counts as much
    weigh = [100*size/len(f)/f.mean() for f in full]; runs = []
    for seed in range(seeds):
        for v in VARIANTS:
            s,targets,loss = student_of(v, [prompts[r]+x for r,x in zip(role, flat)], vectors, seed)
            s.prompts = {r: p for r,p in prompts.items() if p}
            if v!='not trained': train(s, tokens, targets, loss, lr, seed)
            sides = [leaf_sides(own(s), k, max_length=MAX) for k in tasks]
            runs.append(dict(variant=v, seed=seed, spread=float(np.mean([spread(x.documents) for x in sides])),
                scores=np.concatenate([w*x for w,x in zip(weigh, scores(sides))])))
            print(f"{time.perf_counter()-start:5.0f} s", seed, v, f"{runs[-1]['scores'].mean():.2f}", f"{runs[-1]['spread']:.3f}",
                flush=True)
    rows = []
    for v in VARIANTS:
        mine = [r for r in runs if r['variant']==v]
        x = np.mean([r['scores'] for r in mine], 0)
        base = np.mean([r['scores'] for r in runs if r['variant']==VARIANTS[0]], 0)
        d = paired_bootstrap(x, base, stat='difference'); rng = np.random.default_rng(0)
        low,high = np.quantile([x[rng.integers(len(x), size=len(x))].mean() for _ in range(1000)], [.025,.975])
        rows.append(dict(variant=v, retention=float(x.mean()), low=float(low), high=float(high), seeds=[round(float(r['scores'].mean()),
            2) for r in mine],
            spread=float(np.mean([r['spread'] for r in mine])), to_first=dict(value=d.value, low=d.low, high=d.high)))
    d = pd.DataFrame(rows); print(d.to_string(index=False))
    if quick: return
    name = 'projection' if teacher=='offline' else 'projection_second'
    save(name, dict(command='python bench/projection.py'+('' if teacher=='offline' else ' --teacher DIR'), machine=machine(),
        teacher=t.name,
        settings=dict(texts=n, lr=lr, seeds=seeds, max_length=MAX), rows=rows, seconds=time.perf_counter()-start))
    plot(d, HERE/'results'/f'{name}.png')
