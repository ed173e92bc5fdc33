"""On a GPU, with random weights and lengths as in LEAF's data: `embed` against `SentenceTransformer.encode` for a BERT-base-sized teacher, and the training loop against sentence-transformers' trainer for leaf-ir's student (6 layers of 384, a head of 768, 32 texts a step).

`python bench/gpu.py`; `--tiny` tries the script on any machine."""
import json, tempfile, time
from pathlib import Path
import numpy as np, pandas as pd, torch
from datasets import Dataset
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.losses import MSELoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, TrainerCallback
from common import machine, save
from leaf_nb.batches import Batches, tokenise
from leaf_nb.cache import embed
from leaf_nb.encoding import fast_precision, offline_teacher
from leaf_nb.loop import Trainer, for_training
from leaf_nb.student import add_head

words = 'the of and leaf tree forest root branch water light soil wind season growth seed flower bark stem green small large old new long short'.split()

def model_of(dim=None, **shape):
    "BERT of this shape, mean pooling, normalised, around the offline teacher's tokenizer; with a head where `dim` is given"
    d = tempfile.mkdtemp(); torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, **shape)).save_pretrained(d); offline_teacher('cpu').tokenizer.save_pretrained(d)
    t = Transformer(d, max_seq_length=512); modules = [t, Pooling(t.get_embedding_dimension())]
    return SentenceTransformer(modules=[*(add_head(SentenceTransformer(modules=modules, device='cpu'), dim) if dim
        else [*modules, Normalize()])], device='cuda' if torch.cuda.is_available() else 'cpu')

def mixed_texts(n, seed=0):
    "Lengths as in a corpus of pages and queries: 63% long, to the limit or below, 37% of about ten words"
    rng = np.random.default_rng(seed)
    size = np.where(rng.random(n)<.63, np.clip(rng.normal(420, 150, n), 30, 700), np.clip(rng.normal(10, 4, n), 3, 40)).astype(int)
    return [' '.join(rng.choice(words, s)) for s in size]

def embedding(teacher, texts, runs):
    "Texts a second of `embed` and of `encode`, interleaved"
    took,tmp = {},Path(tempfile.mkdtemp()); embed(teacher, texts[:200], tmp/'warm', progress=False)
    half = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    def theirs(dtype): teacher.to(dtype); teacher.encode(texts, batch_size=256, show_progress_bar=False); teacher.to(torch.float32)
    for r in range(runs):
        for name,f in {'embed': lambda: embed(teacher, texts, tmp/f'v{r}', progress=False),
            'encode, as it comes': lambda: teacher.encode(texts, show_progress_bar=False),
            'encode, half precision, batches of 256': lambda: theirs(half)}.items():
            s = time.perf_counter(); f(); took.setdefault(name, []).append(time.perf_counter()-s)
            print(f'{name}: {took[name][-1]:.1f} s', flush=True)
    med = {k: float(np.median(v)) for k,v in took.items()}
    return dict(texts=len(texts), texts_per_second={k: round(len(texts)/v, 1) for k,v in med.items()}, seconds=took,
        throughput_ratio=round(med['encode, as it comes']/med['embed'], 3),
        throughput_ratio_to_the_best=round(min(v for k,v in med.items() if k!='embed')/med['embed'], 3))

def flops(lengths, layers, width, dim):
    "Of a forward and a backward pass over texts of these lengths, padding apart: six a weight and token, and attention"
    return float(sum(6*n*layers*12*width**2+12*layers*width*n**2 for n in lengths.astype(float))+6*len(lengths)*width*dim)

class Rate(TrainerCallback):
    "Seconds from step `warm` to the last"
    def __init__(self, warm): self.warm = warm
    def on_step_end(self, args, state, control, **kw):
        if state.global_step in (self.warm, args.max_steps):
            sync()
            self.start,self.took = (time.perf_counter(),0.) if state.global_step==self.warm else (self.start,time.perf_counter()-self.start)

def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()

def ours(student, tokens, vectors, steps, warm, precision, compiled):
    "Seconds of `steps` after `warm`, and the rows they saw"
    if compiled: student[0].auto_model.compile(dynamic=True)
    n = np.arange(len(tokens)); seen = []
    with for_training(student, precision):
        t = Trainer(student, tokens, vectors, Batches(tokens.lengths, [n]), n[:64], precision=precision)
        for i in range(warm+steps):
            if i==warm: sync(); start = time.perf_counter()
            t.step(t.batches[i], 1e-5)
            if i>=warm: seen.append(t.batches[i])
        sync(); return time.perf_counter()-start, np.concatenate(seen)

def theirs(student, texts, vectors, steps, warm):
    "Seconds of `steps` after `warm` of sentence-transformers' trainer, MSE, in the precision that is fast here"
    data = Dataset.from_dict(dict(sentence=texts)).add_column('label', list(vectors.astype(np.float32))).with_format('torch',
        columns=['label'], output_all_columns=True)
    rate = Rate(warm)
    args = SentenceTransformerTrainingArguments(tempfile.mkdtemp(), per_device_train_batch_size=32, learning_rate=1e-5,
        max_steps=warm+steps, bf16=torch.cuda.is_available(), use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=4 if torch.cuda.is_available() else 0, save_strategy='no', report_to=[], logging_strategy='no',
        disable_tqdm=True)
    SentenceTransformerTrainer(student, args, train_dataset=data, loss=MSELoss(student), callbacks=[rate]).train(); return rate.took

def training(texts, steps, runs, shape, dim, peak):
    "Samples and tokens a second of both loops, interleaved; model-FLOP use of ours against `peak` a second"
    student = lambda: model_of(dim, **shape)
    tokens = tokenise(student(), Dataset.from_dict(dict(text=texts, role=['document']*len(texts))), Path(tempfile.mkdtemp())/'tokens.arrow',
        progress=False)
    vectors = np.random.default_rng(0).normal(size=(len(texts), dim))
    vectors = (vectors/np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    rows,fast = [],fast_precision('cuda' if torch.cuda.is_available() else 'cpu')
    for r in range(runs):
        for name,compiled in (('ours',False),('ours, compiled',True)):
            took,seen = ours(student(), tokens, vectors, steps, steps//5, fast, compiled); n = tokens.lengths[seen]
            rows.append(dict(loop=name, samples_per_second=len(seen)/took, tokens_per_second=n.sum()/took,
                flop_use=flops(n, shape['num_hidden_layers'], shape['hidden_size'], dim)/took/peak if peak else None))
            print(rows[-1], flush=True)
        k = max(10, steps//5); took = theirs(student(), texts, vectors, k, k//5)
        rows.append(dict(loop='theirs', samples_per_second=k*32/took, tokens_per_second=k*32*tokens.lengths.mean()/took))
        print(rows[-1], flush=True)
    d = pd.DataFrame(rows).groupby('loop', sort=False).median(); best = d.samples_per_second[d.index!='theirs'].max()
    return dict(steps=steps, tokens_per_text=float(tokens.lengths.mean()), rows=json.loads(d.to_json(orient='index')),
        samples_per_second=best, throughput_ratio=best/d.samples_per_second['theirs'], hours_for_186M=186e6/best/3600)

@call_parse
def main(
    tiny:bool=False, # Tiny shapes and 300 texts: only to see that the script works; nothing is saved
    n:int=40_000, # Texts
    steps:int=1000, # Of our loop, 32 texts each; a fifth for theirs
    runs:int=3, # Interleaved; medians are reported
    peak:float=989e12, # Dense bf16 operations a second of the GPU; an H100's or H200's
):
    "Prints the figures; writes bench/results/gpu.json unless `tiny`"
    if not tiny and not torch.cuda.is_available(): raise SystemExit('No GPU here. Type --tiny to try the script.')
    small = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128)
    if tiny: n,steps,runs = 300,10,1
    texts = mixed_texts(n); res = dict(command='python bench/gpu.py', machine=machine())
    res['train'] = training(texts, steps, runs, small if tiny else dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
        intermediate_size=1536), 768, None if tiny else peak)
    print(res['train'], flush=True)
    res['embed'] = embedding(model_of(**small if tiny else {}), texts, runs); print(res['embed'])
    if not tiny: save('gpu', res)
