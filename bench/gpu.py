"On a GPU: `embed` against `SentenceTransformer.encode` with a BERT-base-sized teacher of random weights, 512 tokens. `python bench/gpu.py`; `--tiny` tries the script on any machine"
import tempfile, time
from pathlib import Path
import numpy as np, torch
from fastcore.script import call_parse
from common import machine, save

words = 'the of and leaf tree forest root branch water light soil wind season growth seed flower bark stem green small large old new long short'.split()

def make_teacher(tiny):
    "BERT-base in shape, mean pooling, normalised, around the offline teacher's tokenizer"
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel
    from leaf_nb.teacher import offline_teacher
    shape = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128) if tiny else {}
    d = tempfile.mkdtemp(); torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=30522, **shape)).save_pretrained(d); offline_teacher('cpu').tokenizer.save_pretrained(d)
    t = Transformer(d, max_seq_length=512)
    return SentenceTransformer(modules=[t, Pooling(t.get_embedding_dimension()), Normalize()], device='cuda' if torch.cuda.is_available() else 'cpu')

def mixed_texts(n, seed=0):
    "Lengths as in a corpus of pages and queries: 63% long, to the limit or below, 37% of about ten words"
    rng = np.random.default_rng(seed)
    size = np.where(rng.random(n)<.63, np.clip(rng.normal(420, 150, n), 30, 700), np.clip(rng.normal(10, 4, n), 3, 40)).astype(int)
    return [' '.join(rng.choice(words, s)) for s in size]

@call_parse
def main(
    tiny:bool=False, # A tiny teacher and 300 texts: only to see that the script works; nothing is saved
    n:int=40_000, # Texts
    runs:int=3, # Interleaved; medians are reported
):
    "Prints the figures; writes bench/results/gpu.json unless `tiny`"
    from leaf_nb.cache import embed
    if not tiny and not torch.cuda.is_available(): raise SystemExit('No GPU here. Type --tiny to try the script.')
    teacher,texts,tmp,took = make_teacher(tiny),mixed_texts(300 if tiny else n),Path(tempfile.mkdtemp()),{}
    embed(teacher, texts[:200], tmp/'warm', progress=False)
    half = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    def theirs(dtype): teacher.to(dtype); teacher.encode(texts, batch_size=256, show_progress_bar=False); teacher.to(torch.float32)
    for r in range(runs):
        for name,f in {'embed': lambda: embed(teacher, texts, tmp/f'v{r}', progress=False), 'encode, as it comes': lambda: teacher.encode(texts, show_progress_bar=False), 'encode, half precision, batches of 256': lambda: theirs(half)}.items():
            s = time.perf_counter(); f(); took.setdefault(name, []).append(time.perf_counter()-s); print(f'{name}: {took[name][-1]:.1f} s', flush=True)
    med = {k: float(np.median(v)) for k,v in took.items()}; rate = {k: round(len(texts)/v,1) for k,v in med.items()}
    res = dict(command='python bench/gpu.py', machine=machine(), embed=dict(texts=len(texts), texts_per_second=rate, seconds=took, throughput_ratio=round(med['encode, as it comes']/med['embed'],3), throughput_ratio_to_the_best=round(min(v for k,v in med.items() if k!='embed')/med['embed'],3)))
    print(res['embed'])
    if not tiny: save('gpu', res)
