"""Static leaves: a solved prior and some passes against solving alone and training alone, quality by size, and how fast they answer.

42,000 texts of LEAF_SHARED, the offline teacher, tables judged by asymmetric retention of nDCG@10 on scifact and documentation pairs. Beside ours: the same least squares with single entries as the prior (the prototype), and with our prior, at a strength that is halved again and again; and training as pyNIFE's
documentation describes it (start from the teacher's vectors of the entries, cosine loss, batches of 128, warm-up and cosine decay, documents first, then queries at a lower rate; Adam on the rows a batch touches, which is faster than theirs, and the best of a grid of
rates, found on the tasks themselves). Embedding the texts is the same for all and not counted; solving is, reading the vocabulary is reported.
`python bench/static.py --out DIR` goes on where it was stopped; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`."""
import json, math, shutil, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel
from common import HERE, Judge, fast_teacher, fresh_ms, machine, save, shared_texts, two_tasks
from leaf_nb.cache import embed
from leaf_nb.counts import Counts, fast_tokenizer, static_model
from leaf_nb.encoding import collate_bags, token_ids
from leaf_nb.lookup import Lookup, save_lookup
from leaf_nb.metrics import normalize
from leaf_nb.speed import latency, speed
from leaf_nb.static import entries, entry_features, fit_prior, rarity, solve_table
from leaf_nb.tasks import quality
from leaf_nb.teacher import as_teacher
from leaf_nb.train import distill

MAX = 128 # tokens a text

def nife(judge, tokenizer, ids, vectors, rows, vocab, phases, seconds, lr, seed=0, bs=128, at=()):
    "Points of quality against seconds of training; `phases` are (rows, share of the time, share of the rate)"
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(vocab.copy()), freeze=False, mode='mean', sparse=True)
    opt,rng,t = torch.optim.SparseAdam(bag.parameters(), lr=lr),np.random.default_rng(seed),torch.from_numpy(vectors)
    spent,points,begun,at = 0.,[],0.,list(at)
    look = lambda: points.append(dict(seconds=spent, **judge(static_model(tokenizer, bag.weight.detach().numpy()))))
    for some_rows,share,part in phases:
        order = []
        while spent-begun<share*seconds:
            start,f = time.perf_counter(),(spent-begun)/(share*seconds)
            for g in opt.param_groups: g['lr'] = lr*part*(f/.1 if f<.1 else .1+.9*(1+math.cos(math.pi*(f-.1)/.9))/2)
            if len(order)<bs: order = rng.permutation(some_rows)
            b,order = order[:bs],order[bs:]; x = collate_bags([ids[i] for i in b]); out = bag(x['input_ids'], x['offsets'])
            (1-torch.cosine_similarity(out, t[b]).mean()).backward(); opt.step(); opt.zero_grad(); spent += time.perf_counter()-start
            if at and spent>=at[0]: at.pop(0); look()
        begun += share*seconds
    look(); return points

def large():
    "The shape of BERT-large, random weights, mean pooling, with the offline tokenizer"
    body = as_teacher('offline', None, 'cpu').model; model = SentenceTransformer(modules=[body[0], Pooling(1024)], device='cpu')
    model[0].model = BertModel(BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
        intermediate_size=4096)).eval()
    return model

def ours(teacher, texts, cache, judge, out, seeds):
    "Our tables: as they are by default, on several seeds, and with words and phrases"
    def one(n_units, seed=0):
        leaf = distill(teacher, texts, 'static', out if seed==n_units==0 else out.with_name(f'{out.name}-{n_units}-{seed}'), cache=cache,
            n_units=n_units, max_length=MAX, seed=seed)
        made = {k: v for k,v in leaf.info['made'].items() if k!='cosines'}
        return dict(n_units=n_units, seed=seed, seconds=leaf.history.seconds.iloc[-1], reading=leaf.info['embedded_seconds'],
            **judge(leaf.model)) | made
    rows = [one(0, s) for s in range(seeds)]
    return dict(ours=rows, sizes=[rows[0], *(one(n) for n in (10_000,30_000,100_000))],
        retention_asymmetric=float(np.mean([r['mean'] for r in rows]))/100)

def counted(full, teacher, texts, cache, entries_at):
    "Tokenizer, token ids, vectors, rows, and the teacher's vectors of the vocabulary"
    tok = fast_tokenizer(full.model.tokenizer); every = [*texts['document'],*texts['query']]
    ids = token_ids(static_model(tok, np.zeros((tok.get_vocab_size(),1))), every, MAX)
    return dict(tokenizer=tok, ids=ids, vectors=np.asarray(embed(teacher, texts, cache), np.float32), rows=np.arange(len(every)),
        vocab=np.asarray(embed(teacher, {'query': entries(tok)}, entries_at), np.float32))

def solved(judge, full, tokenizer, ids, vectors, rows, vocab):
    "Solving alone: the prototype, and our prior with least squares around it, at ever less strength"
    counts = Counts(ids, rows, len(vocab)); start = time.perf_counter(); table = vocab; points = []
    for _ in range(3): table = solve_table(counts, vectors, vocab, .3, table, iters=12)
    prototype = dict(seconds=time.perf_counter()-start, **judge(static_model(tokenizer, table)))
    words = full.model[0].auto_model.get_input_embeddings().weight.detach().numpy()[:len(vocab)]; start = time.perf_counter()
    table = prior = fit_prior(counts, vectors, entry_features(rarity(counts), vocab, words)); spent = time.perf_counter()-start
    first = dict(seconds=spent, **judge(static_model(tokenizer, prior))); start = time.perf_counter()-spent
    for strength in (4.,2.,1.,.5,.25,.125,.06):
        table = solve_table(counts, vectors, prior, strength, table); spent = time.perf_counter()-start
        points.append(dict(strength=strength, seconds=spent, **judge(static_model(tokenizer, table)))); start = time.perf_counter()-spent
    return dict(prototype=prototype, prior=first, solved=points)

def trained(judge, given, n_documents, seconds, seeds):
    "Training, as pyNIFE's documentation describes it, at the best of some rates"
    n = given['rows']; phases = [(n[:n_documents],.6,1.),(n[n_documents:],.4,.3)]
    grid = {lr: nife(judge, phases=phases, seconds=seconds/8, lr=lr, **given)[-1]['mean'] for lr in (3e-4,1e-3,3e-3,1e-2)}
    lr = max(grid, key=grid.get); at = [seconds*f for f in (.01,.02,.05,.1,.2,.4,.6,.8)]; print('rates', grid, flush=True)
    return dict(rates=grid, nife=[dict(seed=s, lr=lr, points=nife(judge, phases=phases, seconds=seconds, lr=lr, seed=s, at=at, **given))
        for s in range(seeds)])

def sizes_and_speed(full, judge, out, beside, q):
    "Tables cut and rounded, and how fast they answer"
    tables = []
    for d in (384,256,128,64):
        small = beside(f'int8-{d}'); shutil.rmtree(small, ignore_errors=True)
        for kind,m in (('float32',Lookup(out, d)), ('int8',Lookup(save_lookup(out, small, d)))):
            s = [100*quality(t, normalize(m.encode(t.queries)), normalize(np.asarray(s.documents)[:,:d])).mean()/whole
                for t,s,whole in judge.tasks]
            tables.append(dict(dim=d, kind=kind, megabytes=m.table.nbytes/1e6, mean=float(np.mean(s))))
    leaf = SentenceTransformer(str(out), device='cpu')
    fast = speed(dict(leaf=leaf, teacher=full.model), q)
    big = speed(dict(large=large()), q[:64], runs=1)
    look = Lookup(out); start = time.perf_counter(); look.encode(q); plain = len(q)/(time.perf_counter()-start)
    one = latency(dict(leaf=leaf, teacher=full.model), q[:100])
    first = lambda code: fresh_ms(code+'.encode("invert a matrix")', 5)
    lookup = lambda f: first(f'from leaf_nb.lookup import Lookup\nLookup({str(f)!r})')
    return dict(tables=tables, speed=dict(queries_per_second=fast | big | dict(lookup=plain), times_teacher=fast['leaf']/fast['teacher'],
        times_large=fast['leaf']/big['large'], p50_ms=one.p50.to_dict(), p95_ms=one.p95.to_dict(),
        first_answer_ms=dict(lookup=lookup(out), lookup_int8=lookup(beside('int8-384')), imports=fresh_ms('import numpy, tokenizers', 5),
            sentence_transformers=first(f'from sentence_transformers import SentenceTransformer\nSentenceTransformer({str(out)!r}, device="cpu")'))))

def plot(res):
    "Quality against time, and against the number of units"
    fig,(a,b) = plt.subplots(1, 2, figsize=(9.5,3.4))
    for r in res.get('nife', []):
        a.plot([p['seconds'] for p in r['points']], [p['mean'] for p in r['points']], 'C1o-', ms=3, alpha=.7,
            label='trained, as pyNIFE does' if r['seed']==0 else None)
    a.plot(*zip(*((p['seconds'],p['mean']) for p in res['solved'])), 'C0s-', ms=3, alpha=.7, label='solved alone')
    a.plot(*zip(*((r['seconds'],r['mean']) for r in res['ours'])), 'C2*', ms=11, label='ours')
    a.plot(*zip(*((r['seconds'],r['mean']) for r in res['sizes'] if r['n_units'])), 'C2o', label='ours, with words and phrases')
    a.set(xscale='log', xlabel='seconds', ylabel='% of teacher nDCG@10')
    b.plot(*zip(*((r['entries'],r['mean']) for r in res['sizes'])), 'C2o-')
    b.set(xlabel='entries of the vocabulary')
    a.legend(fontsize=8); [x.grid(alpha=.3) for x in (a,b)]; fig.tight_layout(); fig.savefig(HERE/'results'/'static.png', dpi=110)

@call_parse
def main(
    out:str=None, # Folder of the leaf
    part:str='ours,solved,trained,speed', # What to measure; the rest stays as it was
    quick:bool=False, # A twentieth, one seed: only to see that the script works; nothing is saved
    seconds:float=600., # Of training for each rival
    seeds:int=3, # Of each
):
    "Prints what it finds; writes bench/results/static.json and .png unless `quick`"
    if out is None: raise SystemExit('Where should the leaf go? Type --out DIR')
    k,seconds,seeds = (20,6.,1) if quick else (1,seconds,seeds); out = Path(out); beside = lambda name: out.with_name(f'{out.name}-{name}')
    f = HERE/'results'/'static.json'; res = json.loads(f.read_text()) if f.exists() and not quick else {}
    res |= dict(command='python bench/static.py --out DIR', machine=machine())
    texts = {'query': shared_texts('queries', 20_000//k), 'document': shared_texts('passages', 14_000//k)+shared_texts('glosses', 8_000//k)}
    teacher = fast_teacher('offline', MAX); cache = beside('vectors'); embed(teacher, texts, cache)
    full,tasks = as_teacher('offline', None, 'cpu'),two_tasks(10_000//k, 2500//k); judge = Judge(full, tasks, beside('judge'))
    if 'ours' in part: res |= ours(teacher, texts, cache, judge, out, seeds)
    given = counted(full, teacher, texts, cache, beside('entries'))
    if 'solved' in part: res |= solved(judge, full, **given)
    if 'trained' in part: res |= trained(judge, given, len(texts['document']), seconds, seeds)
    if {'ours','nife','prior'}<=res.keys(): # training is given the best that it was at any time and rate
        best = max([(m,seconds/8) for m in res['rates'].values()]+[(float(np.mean([p['mean'] for p in ps])),ps[0]['seconds'])
            for ps in zip(*(r['points'] for r in res['nife']))])
        sooner = min((r['seconds'] for r in [res['prior'],*res['sizes'],*res['ours']] if r['mean']>=best[0]), default=math.inf)
        res |= dict(nife_retention=best[0], nife_seconds=best[1], time_to_quality_ratio=round(seconds/sooner, 1),
            time_to_quality_ratio_to_its_best=round(best[1]/sooner, 1))
    if 'speed' in part: res |= sizes_and_speed(full, judge, out, beside, tasks[1].queries)
    print(json.dumps({k: v for k,v in res.items() if k not in ('nife','machine','command')}, indent=1))
    if quick: return
    save('static', res)
    if {'ours','nife','solved'}<=res.keys(): plot(res)
