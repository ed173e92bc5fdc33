"""A leaf of the offline teacher for general English: two layers, an hour of processor time, embedding included.

`python bench/general_leaf.py --out DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`. `--minutes` is time on the clock for everything up to the finished leaf: 28 minutes of two cores are within 60 CPU minutes, should it take a little longer than foreseen.
What it learns from: questions and web queries; definitions, with and without their words; sentences of passages; passages. Many short texts rather than few long ones: they cost fewer tokens and teach the words of more subjects. How many depends on the machine: the teacher may take three tenths of the time, the rest is training, some two passes. Most steps have short texts, so they take many of them: of a step with few, much is what a step costs by itself."""
import json, re, time
from pathlib import Path
import numpy as np
from fastcore.script import call_parse
from common import SHARED, fast_teacher, machine, save, shared_texts, two_tasks
from leaf_nb.cache import embed
from leaf_nb.evaluate import compare, compare_sts
from leaf_nb.sides import embedder, sides
from leaf_nb.tasks import as_tasks
from leaf_nb.teacher import as_teacher
from leaf_nb.train import distill

def general_texts(n_sentences, n_passages, k=1, seed=0):
    "Texts by role and source; a `k`-th of them"
    rng = np.random.default_rng(seed); mixed = lambda xs: [xs[i] for i in rng.permutation(len(xs))[:len(xs)//k]]
    glosses,lemmas = shared_texts('glosses'),shared_texts('glosses', column='lemmas'); passages = mixed(shared_texts('passages'))
    words = [f"{', '.join(l[:3])}: {g}" if i%2 else ', '.join(l[:3]) for i,(l,g) in enumerate(zip(lemmas, glosses))]
    sentences = [s for p in passages for s in re.split(r'(?<=[.!?])\s+', p) if 20<len(s)<400]
    return {'query/questions': mixed(shared_texts('queries')), 'query/words': mixed(words), 'document/glosses': mixed(glosses),
        'document/sentences': [sentences[i] for i in rng.permutation(len(sentences))[:n_sentences//k]],
        'document/passages': passages[:n_passages//k]}

def that_fit(teacher, texts, seconds):
    "An equal share of each source, as much as `teacher` embeds in `seconds`, by its rate on some of each"
    n = sum(map(len, texts.values())); some = [t for v in texts.values() for t in v[:1+1500*len(v)//n]]
    teacher(some[:64], 'document'); start = time.perf_counter(); teacher(some, 'document')
    took = (time.perf_counter()-start)*sum(len(t) for v in texts.values() for t in v)/sum(map(len, some)); share = min(1., seconds/took)
    return {k: v[:max(200, int(share*len(v)))] for k,v in texts.items()}

@call_parse
def main(
    out:str=None, # Folder of the leaf
    minutes:float=28., # On the clock, for everything
    n_sentences:int=100_000, # Sentences of passages, at most
    n_passages:int=10_000, # Whole passages, at most
    bs:int=128, # Texts a step; most are short
    lr:float=1e-3, # Peak rate
    n_solve:int=10_000, # Texts that the start is solved on
    seed:int=0, # Of everything
    quick:bool=False, # A hundredth, two minutes: only to see that the script works; nothing is saved
):
    "Prints the table; writes bench/results/general_leaf.json unless `quick`"
    if out is None: raise SystemExit('Where should the leaf go? Type --out DIR')
    if quick: minutes,n_solve = 2.5,1000
    wall,cpu = time.perf_counter(),time.process_time()
    out = Path(out)
    teacher = fast_teacher('offline', 128)
    texts = that_fit(teacher, general_texts(n_sentences, n_passages, 100 if quick else 1, seed), .3*minutes*60)
    cache = out.with_name(out.name+'-vectors'); embed(teacher, texts, cache); embedded = time.perf_counter()-wall
    left = minutes*60-embedded-30-2*embedded*n_solve/sum(map(len, texts.values())) # half a minute for tokens and files, and the solve
    if left<20: raise SystemExit(f'Embedding took {embedded:.0f} s of {minutes*60:.0f}. Raise --minutes.')
    leaf = distill(teacher, texts, 'prune:2', out, cache=cache, minutes=left/60, bs=bs, lr=lr, max_length=128, n_solve=n_solve,
        seed=seed, save_every=300)
    took = dict(minutes=(time.perf_counter()-wall)/60, cpu_minutes=(time.process_time()-cpu)/60, embedding_minutes=embedded/60)
    t,l = embedder(as_teacher('offline', None, 'cpu')),embedder(leaf.model)
    rows = {k.name: compare(k, sides(k, t), sides(k, l)) for k in two_tasks()}
    sts, = as_tasks(SHARED/'data'/'eval'/'stsb'/'test.jsonl'); r = compare_sts(sts, t, l); mean = lambda k: float(np.mean([x[k] for x in rows.values()]))
    res = dict(command=f'python bench/general_leaf.py --out DIR --minutes {minutes:g}', machine=machine(), **took,
        retention_asymmetric=mean('retention_asymmetric'), retention_standard=mean('retention_standard'), retention_sts=r['retention_standard'],
        sts=dict(leaf=r['standard'], teacher=r['teacher']), tasks=rows,
        settings={k: leaf.info[k] for k in ('n_texts','lr','embedding_lr_scale','bs','steps','max_length','used_precision','seed',
            'n_solve')} | dict(layers=leaf.info['made']['layers']), start_cosine=leaf.info['made']['start_cosine'],
        cosine=leaf.info['history'][-1]['cosine'], texts_seen=leaf.info['history'][-1]['texts'], scores=leaf.info['scores'])
    print(json.dumps({k: res[k] for k in ('minutes','cpu_minutes','embedding_minutes','start_cosine','cosine','texts_seen',
        'retention_asymmetric','retention_standard','retention_sts')}, indent=1))
    for k,v in rows.items(): print(k, {a: b for a,b in v.items() if a.startswith(('retention','asymmetric_','standard_'))})
    if not quick: save('general_leaf', res)
