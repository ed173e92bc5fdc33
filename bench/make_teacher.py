"""A second real teacher, unlike the offline one it is made from: 768 wide, with prompts for queries and documents, Matryoshka sizes, and its vectors spread out by global orthogonal regularisation.

`python bench/make_teacher.py --out DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Its vectors start as the teacher's mean-pooled and CLS states side by side, turned onto their principal axes; then sentence-transformers' own trainer tunes the upper layers on real pairs: questions with answers, words with definitions, first lines of documentation with the rest."""
import json, tempfile, time
import numpy as np, torch
from datasets import Dataset
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import GlobalOrthogonalRegularizationLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from torch import nn
from common import SHARED, machine, save, shared_texts
from leaf_nb.encoding import encode, fast_precision, offline_teacher
from leaf_nb.inherit import cell
from leaf_nb.sides import leaf_sides
from leaf_nb.student import find_layers, prune
from leaf_nb.tasks import load_beir, task_from_pairs
from leaf_nb.texts import doc_corpus

SIZES,MAX = (768, 512, 256, 128, 64), 128
PROMPTS = dict(query='Represent this sentence for searching relevant passages: ', document='')

def real_pairs(n, documentation, seed=0):
    "`n` pairs of text, a third of each kind, shuffled"
    words = list(zip([l[0] for l in shared_texts('glosses', column='lemmas')], shared_texts('glosses')))
    kinds = [list(zip(shared_texts('medquad_pairs', column='question'), shared_texts('medquad_pairs', column='answer'))), words,
        list(zip(documentation['query'], documentation.text))]
    rng = np.random.default_rng(seed); res = [k[i] for k in kinds for i in rng.permutation(len(k))[:n//3]]
    return [res[i] for i in rng.permutation(len(res))]

def wide(teacher, texts):
    "The teacher with mean and CLS states side by side, 768 in all, turned so that most of the length is in the first axes"
    body = prune(teacher, range(len(getattr(*find_layers(teacher))))); w = body.get_embedding_dimension()
    model = SentenceTransformer(modules=[body[0], Pooling(w, ('cls','mean'))], device='cpu'); h = encode(model, texts, max_length=MAX)
    scale = np.r_[np.full(w, .3*np.linalg.norm(h[:,w:])/np.linalg.norm(h[:,:w])),
        np.ones(w)] # CLS was never trained for this: a smaller say
    axes = np.linalg.eigh((h*scale).T@(h*scale))[1][:,::-1]
    turn = Dense(2*w, 2*w, bias=False, activation_function=nn.Identity(), init_weight=torch.from_numpy((axes.T*scale).astype(np.float32)))
    return SentenceTransformer(modules=[*model, turn, Normalize()], prompts=PROMPTS, device='cpu')

class Loss(nn.Module):
    "In-batch negatives at every Matryoshka size, and global orthogonal regularisation of the whole"
    def __init__(self, model):
        super().__init__()
        self.model,self.rank,self.gor = model,MultipleNegativesRankingLoss(model),GlobalOrthogonalRegularizationLoss(model,
            mean_weight=None)
    def forward(self, features, labels=None):
        e = [self.model(f)['sentence_embedding'] for f in features]
        return sum(self.rank.compute_loss_from_embeddings([x[:,:n] for x in e], None)
            for n in SIZES)/len(SIZES) + sum(self.gor.compute_loss_from_embeddings(e).values())

def tune(model, pairs, lr, bs, frozen, seed):
    "Their trainer over `pairs` once, the embeddings and first `frozen` layers as they are"
    for m in (model[0].auto_model.embeddings, *getattr(*find_layers(model))[:frozen]): m.requires_grad_(False)
    data = Dataset.from_dict(dict(query=[q for q,_ in pairs], document=[d for _,d in pairs]))
    bf16 = fast_precision('cpu')=='bf16'; model.max_seq_length = MAX
    if bf16: model[0].auto_model.set_attn_implementation('eager')
    args = SentenceTransformerTrainingArguments(tempfile.mkdtemp(), per_device_train_batch_size=bs, num_train_epochs=1, learning_rate=lr,
        warmup_steps=.1, bf16=bf16, use_cpu=True, seed=seed, prompts=PROMPTS, save_strategy='no', report_to=[], logging_steps=25)
    SentenceTransformerTrainer(model, args, train_dataset=data, loss=Loss(model)).train(); model.requires_grad_(True)

def curve(model, task):
    "nDCG@10 at each size, truncated and normalised again"
    s = leaf_sides(model, task, max_length=MAX); return {n: float(cell(s.queries, s.documents, task, n).mean()) for n in SIZES if n<=s.queries.shape[1]}

@call_parse
def main(
    out:str=None, # Folder of the teacher
    n:int=12_000, # Pairs
    lr:float=5e-5, # Peak rate
    bs:int=64, # Pairs a step
    frozen:int=3, # Layers left as they are
    seed:int=0, # Of the pairs and their order
    quick:bool=False, # 400 pairs: only to see that the script works; no figures are saved
):
    "Saves the teacher in `out`, prints nDCG@10 by size beside that of the offline teacher; writes bench/results/make_teacher.json unless `quick`"
    if out is None: raise SystemExit('Where should the teacher go? Type --out DIR')
    n,sizes = (400, dict(n_documents=500, n_queries=100)) if quick else (n, dict(n_documents=10_000, n_queries=2500))
    start = time.perf_counter()
    documentation,held = doc_corpus(progress=False, **sizes); pairs = real_pairs(n, documentation, seed); old = offline_teacher('cpu')
    model = wide(old, [t for p in pairs[:3000] for t in p])
    tasks = [task_from_pairs(held, 'documentation'), *([] if quick else [load_beir(SHARED/'data'/'eval'/'scifact')])]
    before = {t.name: curve(model, t) for t in tasks}; began = time.perf_counter()
    tune(model, pairs, lr, bs, frozen, seed); took = time.perf_counter()-began
    model[0].auto_model.set_attn_implementation('sdpa')
    model.max_seq_length = old.max_seq_length; model.eval().save(out)
    res = dict(command='python bench/make_teacher.py --out DIR', machine=machine(),
        settings=dict(pairs=n, lr=lr, bs=bs, frozen=frozen, seed=seed, max_length=MAX, sizes=SIZES), tune_seconds=took,
        seconds=time.perf_counter()-start, ndcg={t.name: dict(offline=curve(old, t), untuned=before[t.name], tuned=curve(model, t))
        for t in tasks})
    print(json.dumps(res['ndcg'], indent=1), f"{took:.0f} s of tuning")
    if not quick: save('make_teacher', res)
