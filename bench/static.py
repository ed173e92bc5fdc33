"""Static leaves: solved against trained, quality by size, and how fast they answer.

42,000 texts of LEAF_SHARED, the offline teacher, tables judged by asymmetric retention of nDCG@10 on scifact and documentation pairs. Beside ours: the same least squares with single entries as the prior (the prototype), and training as pyNIFE's
documentation describes it (start from the teacher's vectors of the entries, cosine loss, batches of 128, warm-up and cosine decay, documents first, then queries at a lower rate; Adam on the rows a batch touches, which is faster than theirs, and the best of a grid of
rates, found on the tasks themselves). Embedding the texts is the same for all and not counted; solving is, reading the vocabulary is reported.
`python bench/static.py --out DIR`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`."""
import json, math, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import BertConfig, BertModel
from common import HERE, Judge, fast_teacher, fresh_ms, machine, save, shared_texts, two_tasks
from leaf_nb.cache import embed
from leaf_nb.evaluate import latency, speed
from leaf_nb.lookup import Lookup, save_lookup
from leaf_nb.metrics import normalize
from leaf_nb.static import Counts, entries, fast_tokenizer, solve_table, static_model
from leaf_nb.tasks import quality
from leaf_nb.teacher import as_teacher, token_ids
from leaf_nb.train import distill

MAX = 128 # tokens a text

def nife(judge, tokenizer, vocab, ids, vectors, phases, seconds, lr, seed=0, bs=128, at=()):
    "Points of quality against seconds of training; `phases` are (rows, share of the time, share of the rate)"
    bag = torch.nn.EmbeddingBag.from_pretrained(torch.from_numpy(vocab.copy()), freeze=False, mode='mean', sparse=True)
    opt,rng,t = torch.optim.SparseAdam(bag.parameters(), lr=lr),np.random.default_rng(seed),torch.from_numpy(vectors)
    spent,points,begun,at = 0.,[],0.,list(at)
    look = lambda: points.append(dict(seconds=spent, **judge(static_model(tokenizer, bag.weight.detach().numpy()))))
    for rows,share,part in phases:
        order = []
        while spent-begun<share*seconds:
            start,f = time.perf_counter(),(spent-begun)/(share*seconds)
            for g in opt.param_groups: g['lr'] = lr*part*(f/.1 if f<.1 else .1+.9*(1+math.cos(math.pi*(f-.1)/.9))/2)
            if len(order)<bs: order = rng.permutation(rows)
            b,order = order[:bs],order[bs:]; some = [ids[i] for i in b]; ends = np.cumsum([len(i) for i in some])
            out = bag(torch.from_numpy(np.concatenate(some).astype(np.int64)), torch.from_numpy(np.r_[0, ends[:-1]]))
            (1-torch.cosine_similarity(out, t[b]).mean()).backward(); opt.step(); opt.zero_grad(); spent += time.perf_counter()-start
            if at and spent>=at[0]: at.pop(0); look()
        begun += share*seconds
    look(); return points

def large():
    "The shape of BERT-large, random weights, mean pooling, with the offline tokenizer"
    body = as_teacher('offline', None, 'cpu').model; model = SentenceTransformer(modules=[body[0], Pooling(1024)], device='cpu')
    model[0].auto_model = BertModel(BertConfig(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
        intermediate_size=4096)).eval()
    return model

def plot(res):
    "Quality against time, and against the number of units"
    fig,(a,b) = plt.subplots(1, 2, figsize=(9.5,3.4))
    for r in res.get('nife', []):
        a.plot([p['seconds'] for p in r['points']], [p['mean'] for p in r['points']], 'C1o-', ms=3, alpha=.7,
            label='trained, as pyNIFE does' if r['seed']==0 else None)
    a.plot(*zip(*((r['seconds'],r['mean']) for r in res['ours'])), 'C2*', ms=11, label='solved')
    a.plot(*zip(*((r['seconds'],r['mean']) for r in res['sizes'] if r['n_units']==0)), 'C2o', label='solved, no units')
    a.set(xscale='log', xlabel='seconds', ylabel='% of teacher nDCG@10')
    b.plot(*zip(*((r['entries'],r['mean']) for r in res['sizes'])), 'C2o-')
    b.set(xlabel='entries of the vocabulary')
    a.legend(fontsize=8); [x.grid(alpha=.3) for x in (a,b)]; fig.tight_layout(); fig.savefig(HERE/'results'/'static.png', dpi=110)

@call_parse
def main(
    out:str=None, # Folder of the leaf
    quick:bool=False, # A twentieth, one seed: only to see that the script works; nothing is saved
    seconds:float=600., # Of training for each rival
    seeds:int=3, # Of each
):
    "Prints what it finds; writes bench/results/static.json and .png unless `quick`"
    if out is None: raise SystemExit('Where should the leaf go? Type --out DIR')
    k,seconds,seeds = (20,6.,1) if quick else (1,seconds,seeds); out = Path(out)
    texts = {'query': shared_texts('queries', 20_000//k), 'document': shared_texts('passages', 14_000//k)+shared_texts('glosses', 8_000//k)}
    teacher = fast_teacher('offline', MAX); cache = out.with_name(out.name+'-vectors'); embed(teacher, texts, cache)
    full,tasks = as_teacher('offline', None, 'cpu'),two_tasks(10_000//k, 2500//k); judge = Judge(full, tasks, out.with_name(out.name+'-judge'))
    def ours(n_units, seed=0, folder=None):
        leaf = distill(teacher, texts, 'static', folder or out.with_name(f'{out.name}-{n_units}-{seed}'), cache=cache, n_units=n_units,
            max_length=MAX, seed=seed)
        return leaf, dict(n_units=n_units, seed=seed, seconds=leaf.history.seconds.iloc[-1], reading=leaf.info['embedded_seconds'],
            **judge(leaf.model)) | leaf.info['made']
    leaf,row = ours(30_000, 0, out)
    rows = [row, *(ours(30_000, s)[1] for s in range(1, seeds))]
    sizes = [*(ours(n)[1] for n in (0,10_000)), row, ours(100_000)[1]]
    res = dict(command='python bench/static.py --out DIR', machine=machine(), ours=rows, sizes=sizes,
        retention_asymmetric=float(np.mean([r['mean'] for r in rows]))/100)
    print(json.dumps({k: [{a: b for a,b in r.items() if a!='cosines'} for r in res[k]] for k in ('ours','sizes')}, indent=1), flush=True)
    # the prototype, and training
    tok = fast_tokenizer(full.model.tokenizer)
    size = tok.get_vocab_size()
    blank = static_model(tok, np.zeros((size,1)))
    every = [*texts['document'],*texts['query']]
    ids = token_ids(blank, every, MAX); v = np.asarray(embed(teacher, texts, cache), np.float32); n = np.arange(len(every))
    vocab = np.asarray(embed(teacher, {'query': entries(tok)}, out.with_name(out.name+'-entries')), np.float32)
    start = time.perf_counter()
    table = vocab
    for _ in range(3): table = solve_table(Counts(ids, n, size), v, vocab, .3, table, iters=12)
    res['prototype'] = dict(seconds=time.perf_counter()-start, **judge(static_model(tok, table)))
    print('prototype', res['prototype'], flush=True)
    docs = len(texts['document']); phases = [(n[:docs],.6,1.),(n[docs:],.4,.3)]
    grid = {lr: nife(judge, tok, vocab, ids, v, phases, seconds/8, lr)[-1]['mean'] for lr in (3e-4,1e-3,3e-3,1e-2)}
    lr = max(grid, key=grid.get)
    print('rates', grid, flush=True)
    res |= dict(rates=grid, nife=[dict(seed=s, lr=lr, points=nife(judge, tok, vocab, ids, v, phases, seconds, lr, s, at=[seconds*f
        for f in (.01,.02,.05,.1,.2,.4,.6,.8)])) for s in range(seeds)])
    final = float(np.mean([r['points'][-1]['mean'] for r in res['nife']]))
    sooner = [r['seconds'] for r in [*sizes,*rows] if r['mean']>=final]
    res |= dict(nife_retention=final, time_to_quality_ratio=round(seconds/min(sooner), 2) if sooner else None)
    # size and speed
    res['tables'] = []
    for d in (384,256,128,64):
        for kind,m in (('float32',Lookup(out, d)), ('int8',Lookup(save_lookup(out, out.with_name(f'{out.name}-int8-{d}'), d)))):
            s = [100*quality(t, normalize(m.encode(t.queries)), normalize(np.asarray(s.documents)[:,:d])).mean()/whole
                for t,s,whole in judge.tasks]
            res['tables'].append(dict(dim=d, kind=kind, megabytes=m.table.nbytes/1e6, mean=float(np.mean(s))))
    q = tasks[1].queries
    fast = speed(dict(leaf=leaf.model, teacher=full.model), q)
    big = speed(dict(large=large()), q[:64], runs=1)
    look = Lookup(out); start = time.perf_counter(); look.encode(q); plain = len(q)/(time.perf_counter()-start)
    one = latency(dict(leaf=leaf.model, teacher=full.model), q[:100]); f = str(out)
    res['speed'] = dict(queries_per_second=fast | big | dict(lookup=plain), times_teacher=fast['leaf']/fast['teacher'],
        times_large=fast['leaf']/big['large'], p50_ms=one.p50.to_dict(), p95_ms=one.p95.to_dict(),
        first_answer_ms=dict(lookup=fresh_ms(f'from leaf_nb.lookup import Lookup\nLookup({f!r}).encode("invert a matrix")', 5),
            sentence_transformers=fresh_ms('from sentence_transformers import SentenceTransformer\n'
                f'SentenceTransformer({f!r}, device="cpu").encode("invert a matrix")', 5)))
    print(json.dumps({k: res[k] for k in ('retention_asymmetric','nife_retention','time_to_quality_ratio','tables','speed')}, indent=1))
    if quick: return
    save('static', res); plot(res)
