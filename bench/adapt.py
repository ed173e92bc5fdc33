"""What task adapters add to a distilled base, and which part of their losses does it.

`python bench/adapt.py --leaf DIR` with the folder of a leaf of the offline teacher (bench/general_leaf.py makes one); `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Each adapter is trained on three seeds and judged against the base on data it has not seen: text-matching on stsb (trained on its train split), classification on banking77 (trained on its train split, and for transfer on clinc150, for few steps and for many, judged by clusters too), retrieval on held-out documentation pairs,
held-out medquad pairs and scifact (trained on pairs of the first two kinds), clustering on banking77. Differences are paired, query by query or text by text, averaged over seeds; intervals are by bootstrap over these.
V-measure is no mean over texts. Base and adapters cluster the texts five times, with the same seeds of k-means; the clusters are kept, and v-measure is computed on texts drawn again, the same for both sides. This interval, like the others, is over the choice of texts; seeds and runs of k-means are averaged over, not drawn again.
Then the paper's tables 5 (subsets of the retrieval loss) and 6 (binary vectors with and without GOR) at this scale."""
import json, tempfile, time
from itertools import combinations
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from fastcore.script import call_parse
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score
from common import HERE, SHARED, fast_teacher, machine, made, save
from leaf_nb.adapt import adapt
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.folder import load_leaf
from leaf_nb.inherit import codes, comparable
from leaf_nb.metrics import cosine, normalize
from leaf_nb.sides import embedder
from leaf_nb.task_data import KINDS
from leaf_nb.tasks import load_beir, quality, task_from_pairs
from leaf_nb.texts import doc_corpus, read_table

EVAL,MAX = SHARED/'data'/'eval',128

def interval(f, n, runs=1000, seed=0):
    "Value of `f` on all of `n` rows, and its 95% interval over rows drawn again"
    rng = np.random.default_rng(seed)
    v = [f(rng.integers(n, size=n)) for _ in range(runs)]
    return dict(value=float(f(np.arange(n))), low=float(np.quantile(v, .025)), high=float(np.quantile(v, .975)))

def vectors(leaf, texts): return embedder(leaf.model, leaf.info.get('prompts'), MAX)(texts, 'document')

def spearman(a, b): return np.corrcoef(rankdata(a), rankdata(b))[0,1]

def sts(leaf, table):
    "Cosines of the pairs"
    a,b = (normalize(vectors(leaf, table[c].tolist())) for c in ('sentence1','sentence2'))
    return (a*b).sum(1)

def few_shot(leaf, train, test, shots=8, draws=10):
    "Share of draws in which each text of `test` is classified right: logistic regression on a few texts of each label, as mteb does"
    a,b = (vectors(leaf, d.text.tolist()) for d in (train, test))
    right = np.zeros(len(test))
    for i in range(draws):
        at = train.groupby('label').sample(min(shots, train.label.value_counts().min()), random_state=i).index
        right += LogisticRegression(max_iter=100).fit(a[at], train.label[at]).predict(b)==test.label
    return right/draws

def clusters(vectors, k, runs=5):
    "Cluster of each text, in each of several runs of k-means, as mteb does it"
    return [MiniBatchKMeans(k, batch_size=512, n_init=3, random_state=i).fit_predict(vectors) for i in range(runs)]

def both(leaf, tasks):
    "Vectors of queries and documents of each task, at the precision that is fast here"
    e = embedder(fast_teacher(leaf.model, MAX))
    return [(normalize(e(t.queries, 'query')), normalize(e(t.documents, 'document'))) for t in tasks]

def ranks(tasks, vectors, documents=None, binary=False):
    "nDCG@10 of each query, one task after another; documents as in `vectors`, or by the teacher where theirs are given"
    how = (lambda x: comparable(codes(x, 'binary'))) if binary else np.asarray
    return np.concatenate([quality(t, how(q), how(d if documents is None else documents[t.name])) for t,(q,d) in zip(tasks, vectors)])

def data(quick):
    "Training tables and tasks"
    k = 20 if quick else 1; read = lambda f: read_table(EVAL/f) ; rng = np.random.default_rng(0)
    docs,held = doc_corpus(n_documents=4000//k, n_queries=1000//k, progress=False)
    med = read_table(SHARED/'data'/'train'/'medquad_pairs.jsonl.gz').rename(columns=dict(question='query',
        answer='document')).drop_duplicates('document')
    at = rng.permutation(len(med))
    med_test = med.iloc[at[:3000//k]].reset_index(drop=True)
    asked = med_test.assign(text=med_test.document, package='medquad', asked=np.arange(len(med_test))<800//k)
    pairs = lambda d,n: d.iloc[rng.permutation(len(d))[:n]][['query','document']].reset_index(drop=True)
    return dict(train=dict(documentation=pairs(docs.assign(document=docs.text), 6000//k), medquad=pairs(med.iloc[at[3000//k:]], 6000//k)),
        tasks=[task_from_pairs(held, 'documentation'), task_from_pairs(asked, 'medquad'), *([] if quick else [load_beir(EVAL/'scifact')])],
        sts=(read('stsb/train.jsonl').iloc[::k], read('stsb/test.jsonl').iloc[::k].reset_index(drop=True)),
        banking=tuple(read(f'banking77/{s}.jsonl').iloc[::max(1, k//4)].reset_index(drop=True) for s in ('train','test')),
        clinc=read('clinc150/train.jsonl').iloc[::k].reset_index(drop=True))

def against(new, base, how, n, runs=1000):
    "The base's value, the adapters' mean over seeds, and the difference with its interval"
    return dict(base=float(how(base, np.arange(n))), adapter=float(np.mean([how(x, np.arange(n)) for x in new])),
        **interval(lambda at: np.mean([how(x, at) for x in new])-how(base, at), n, runs))

def plot(parts):
    "Gains of each adapter, and the subsets of the retrieval loss"
    panels = {'adapter less base, points, 95% interval': [r for p in parts.values() for r in p['rows']]}
    if 'retrieval' in parts: panels['retrieval: each subset of the loss less the base, points'] = parts['retrieval']['losses']
    fig,axes = plt.subplots(1, len(panels), figsize=(7*len(panels), 1+.24*max(map(len, panels.values()))), squeeze=False)
    for ax,(title,rows) in zip(axes[0], panels.items()):
        d = pd.DataFrame(rows)[::-1].reset_index(drop=True)
        ax.errorbar(100*d['value'], d.index, xerr=100*np.array([d['value']-d.low, d.high-d['value']]), fmt='o', capsize=3)
        ax.axvline(0, c='k', lw=.8)
        ax.set_yticks(d.index, d.name); ax.set_title(title, fontsize=9, loc='right'); ax.grid(axis='x', alpha=.3)
    fig.tight_layout(); fig.savefig(HERE/'results'/'adapt.png', dpi=110)

class Run:
    "Adapters of one base on several seeds, and what is reported of them"
    def __init__(self, base, out, seeds): self.base,self.out,self.seeds,self.rows,self.start = load_leaf(base),out,seeds,[],time.perf_counter()

    def make(self, task, table, name, **kw):
        "An adapter a seed; one that is there is not trained again"
        cache = self.out/'vectors'/(task if task=='retrieval' else name) # subsets of a loss ask for the same vectors
        return [adapt(self.base, task, table, self.out/'base', name=f'{name}-{s}', seed=s, cache=cache, progress=False, **kw)
            for s in range(self.seeds)]

    def vectors(self, leaves, texts):
        "Of each adapter, and of the base"
        return [vectors(l, texts) for l in leaves],vectors(self.base, texts)

    def report(self, name, r, rows=None):
        (self.rows if rows is None else rows).append(dict(name=name, **r))
        print(f'{time.perf_counter()-self.start:6.0f} s', name, {k: round(100*v, 2) for k,v in r.items()}, flush=True)

def mean(v, at): return v[at].mean()

def matching(run, d, steps):
    train,test = d['sts']; y = test.score.to_numpy()
    cos = [sts(l, test) for l in run.make('text-matching', train, 'text-matching', steps=steps)]
    run.report('text-matching: stsb, Spearman', against(cos, sts(run.base, test), lambda c,at: spearman(c[at], y[at]), len(test)))

def classification(run, d, steps):
    "Learned on the labels that it is judged by"
    (train,test),leaves = d['banking'],run.make('classification', d['banking'][0], 'classification', steps=steps, bs=32)
    run.report('classification: banking77, learned on banking77', against([few_shot(l, train, test) for l in leaves],
        few_shot(run.base, train, test), mean, len(test)))

def topics(run, name, new, was, label):
    "Reports v-measure of k-means on the vectors of adapters and base, k the number of labels; it as a function of vectors"
    y,names = pd.factorize(label); at_k = lambda v: clusters(normalize(v), len(names))
    v_measure = lambda cs,at: np.mean([v_measure_score(y[at], c[at]) for c in cs])
    run.report(name, against([at_k(v) for v in new], at_k(was), v_measure, len(y), runs=300))
    return lambda v: float(v_measure(at_k(v), np.arange(len(y))))

def transfer(run, d, steps):
    "Learned on other labels than it is judged by, for few steps and for many; such pairs teach topics too"
    (train,test),texts = d['banking'],d['banking'][1].text.tolist(); was = few_shot(run.base, train, test)
    for n in sorted({max(1, steps//k) for k in (30,10,3,1)}):
        leaves = run.make('classification', d['clinc'], f'transfer-{n}', steps=n, bs=32); new,old = run.vectors(leaves, texts)
        run.report(f'classification: banking77, {n} steps on clinc150', against([few_shot(l, train, test) for l in leaves], was, mean, len(test)))
        topics(run, f'clustering: banking77, {n} steps on clinc150', new, old, test.label)

def clustering(run, d, steps):
    "The teacher told to look for the topic, and the adapter's way toward it"
    (train,test),teacher = d['banking'],offline_teacher('cpu'); texts = test.text.tolist()
    told,plain = encode(teacher, texts, KINDS['clustering'].instruction, MAX),encode(teacher, texts, max_length=MAX)
    leaves = run.make('clustering', dict(text=d['clinc'].text.tolist()+train.text.tolist()[:3000]), 'clustering', steps=steps)
    new,was = run.vectors(leaves, texts); score = topics(run, 'clustering: banking77, v-measure', new, was, test.label)
    res = dict(teacher=score(plain), teacher_told=score(told), cosine_to_told=against([cosine(v, told) for v in new], cosine(was, told),
        mean, len(texts)))
    print('clustering', res, flush=True); return res

def retrieval(run, d, steps):
    "The whole loss, and every subset of it; binary vectors with and without GOR"
    tasks = d['tasks']; e = embedder(fast_teacher('offline', MAX)); docs = {t.name: e(t.documents, 'document') for t in tasks}
    at = np.cumsum([0]+[len(t.queries) for t in tasks])
    def by_task(v, rows): return np.mean([v[a:b][rows[(rows>=a)&(rows<b)]-a].mean() for a,b in zip(at, at[1:])])
    def gain(x, how=by_task, part=slice(None)): x = [v[part] for v in x]; return against(x[:-1], x[-1], how, len(x[-1]))
    def scores(new, **kw): return [ranks(tasks, v, **kw) for v in (*new, was)]
    was,losses,binary,full = both(run.base, tasks),[],[],dict(infonce=1., distill=2., gor=1.)
    for keep in (k for n in (3,2,1) for k in combinations(full, n) if k!=('gor',)): # alone it asks for nothing but spread
        new = [both(l, tasks) for l in run.make('retrieval', d['train'], f"retrieval-{'-'.join(keep)}", steps=steps, bs=48,
            weights={k: v if k in keep else 0. for k,v in full.items()})]
        own = scores(new); run.report(' + '.join(keep), gain(own), losses)
        if {'infonce','distill'}<=set(keep): run.report(f"binary, {' + '.join(keep)}", gain(scores(new, binary=True)), binary)
        if len(keep)<3: continue
        run.report('retrieval: three tasks, standard, nDCG@10', gain(own))
        for how,x in dict(standard=own, asymmetric=scores(new, documents=docs)).items():
            for t,a,b in zip(tasks, at, at[1:]): run.report(f'retrieval: {t.name}, {how}', gain(x, mean, slice(a, b)))
    return dict(losses=losses, binary=binary)

PARTS = dict(matching=matching, classification=classification, transfer=transfer, clustering=clustering, retrieval=retrieval)

@call_parse
def main(
    leaf:str=None, # Folder of the base
    out:str=None, # Folder of the adapters, where a run that was stopped goes on; default: a temporary one
    only:str='', # Parts, with commas between: matching, classification, transfer, clustering, retrieval; the others stay as they are in the results
    steps:int=300, # Of text-matching and clustering
    classification_steps:int=300, # Nine texts a row
    retrieval_steps:int=250, # Of retrieval, and of each subset of its loss
    seeds:int=3, # Runs of each
    quick:bool=False, # A twentieth, one seed: only to see that the script works; nothing is saved
):
    "Prints the tables; writes bench/results/adapt.json and .png after each part, unless `quick`"
    if leaf is None: raise SystemExit('Which base? Type --leaf DIR')
    parts = [p for p in only.split(',') if p] or list(PARTS)
    if bad := [p for p in parts if p not in PARTS]: raise SystemExit(f"--only: saw {bad[0]}, wanted some of {', '.join(PARTS)}.")
    if quick: steps,classification_steps,retrieval_steps,seeds = 12,12,8,1
    of = dict(classification=('classification_steps', classification_steps), retrieval=('retrieval_steps', retrieval_steps))
    of['transfer'] = of['classification']; d,f = data(quick),HERE/'results'/'adapt.json'
    out = Path(out or tempfile.mkdtemp()); res = json.loads(f.read_text()) if f.exists() else dict(parts={})
    for p in parts:
        run,(option,n) = Run(leaf, out, seeds),of.get(p, ('steps', steps)); more = PARTS[p](run, d, n)
        if quick: continue
        res['parts'][p] = dict(command=f'python bench/adapt.py --leaf DIR --only {p} --{option} {n}', machine=machine(),
            settings=dict(steps=n, seeds=seeds, max_length=MAX, base=made(run.base.info)),
            seconds=time.perf_counter()-run.start, rows=run.rows, **(more or {}))
        res['parts'] = {k: res['parts'][k] for k in PARTS if k in res['parts']}
        save('adapt', res)
        plot(res['parts'])
