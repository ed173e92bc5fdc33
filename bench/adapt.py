"""What task adapters add to a distilled base, and which part of their losses does it.

`python bench/adapt.py --leaf DIR` with the folder of a leaf of the offline teacher (bench/general_leaf.py makes one); `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Each adapter is trained on three seeds and judged against the base on data it has not seen: text-matching on stsb (trained on its train split), classification on banking77 (trained on its train split, and for transfer on clinc150), retrieval on held-out documentation pairs,
held-out medquad pairs and scifact (trained on pairs of the first two kinds), clustering on banking77. Differences are paired, query by query or text by text, averaged over seeds; intervals are by bootstrap over these. Then the paper's tables 5 (subsets of the
retrieval loss) and 6 (binary vectors with and without GOR) at this scale."""
import tempfile, time
from itertools import combinations
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from fastcore.script import call_parse
from scipy.stats import rankdata
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import v_measure_score
from common import HERE, SHARED, machine, save
from leaf_nb.adapt import adapt
from leaf_nb.evaluate import embedder
from leaf_nb.folder import load_leaf
from leaf_nb.inherit import codes, comparable
from leaf_nb.metrics import cosine, ndcg, normalize, search
from leaf_nb.tasks import load_beir, task_from_pairs
from leaf_nb.teacher import as_teacher, encode
from leaf_nb.texts import doc_corpus, read_table

EVAL,MAX = SHARED/'data'/'eval',128

def interval(f, n, runs=1000, seed=0):
    "Value of `f` on all of `n` rows, and its 95% interval over rows drawn again"
    rng = np.random.default_rng(seed); v = [f(rng.integers(n, size=n)) for _ in range(runs)]; return dict(value=float(f(np.arange(n))), low=float(np.quantile(v, .025)), high=float(np.quantile(v, .975)))

def spearman(a, b): return np.corrcoef(rankdata(a), rankdata(b))[0,1]

def sts(leaf, table):
    "Cosines of the pairs"
    e = embedder(leaf.model, leaf.info.get('prompts'), MAX); a,b = (normalize(e(table[c].tolist(), 'document')) for c in ('sentence1','sentence2')); return (a*b).sum(1)

def few_shot(leaf, train, test, shots=8, draws=10):
    "Share of draws in which each text of `test` is classified right: logistic regression on a few texts of each label, as mteb does"
    e = embedder(leaf.model, leaf.info.get('prompts'), MAX); a,b = (e(d.text.tolist(), 'document') for d in (train, test)); right = np.zeros(len(test))
    for i in range(draws):
        at = train.groupby('label').sample(min(shots, train.label.value_counts().min()), random_state=i).index; right += LogisticRegression(max_iter=100).fit(a[at], train.label[at]).predict(b)==test.label
    return right/draws

def v_measures(leaf, test, runs=5):
    "V-measure of clusters of the texts, as mteb clusters them"
    e = embedder(leaf.model, leaf.info.get('prompts'), MAX)(test.text.tolist(), 'document'); k = test.label.nunique()
    return [v_measure_score(test.label, MiniBatchKMeans(k, batch_size=512, n_init=3, random_state=i).fit_predict(e)) for i in range(runs)]

def rank(leaf, task, teacher_documents=None, binary=False):
    "nDCG@10 of each query; documents by the leaf, or by the teacher where their vectors are given"
    e = embedder(leaf.model, leaf.info.get('prompts'), MAX); q = normalize(e(task.queries, 'query')); d = normalize(e(task.documents, 'document')) if teacher_documents is None else teacher_documents
    if binary: q,d = (comparable(codes(x, 'binary')) for x in (q, d))
    return ndcg(search(q, d, 10)[1], task.qrels, 10)

def data(quick):
    "Training tables and tasks"
    k = 20 if quick else 1; read = lambda f: read_table(EVAL/f) ; rng = np.random.default_rng(0)
    docs,held = doc_corpus(n_documents=4000//k, n_queries=1000//k, progress=False); med = read_table(SHARED/'data'/'train'/'medquad_pairs.jsonl.gz').rename(columns=dict(question='query', answer='document')).drop_duplicates('document')
    at = rng.permutation(len(med)); med_test = med.iloc[at[:3000//k]].reset_index(drop=True); asked = med_test.assign(text=med_test.document, package='medquad', asked=np.arange(len(med_test))<800//k)
    pairs = lambda d,n: d.iloc[rng.permutation(len(d))[:n]][['query','document']].reset_index(drop=True)
    return dict(train=dict(documentation=pairs(docs.assign(document=docs.text), 6000//k), medquad=pairs(med.iloc[at[3000//k:]], 6000//k)),
        tasks=[task_from_pairs(held, 'documentation'), task_from_pairs(asked, 'medquad'), *([] if quick else [load_beir(EVAL/'scifact')])],
        sts=(read('stsb/train.jsonl').iloc[::k], read('stsb/test.jsonl').iloc[::k].reset_index(drop=True)),
        banking=tuple(read(f'banking77/{s}.jsonl').iloc[::max(1, k//4)].reset_index(drop=True) for s in ('train','test')), clinc=read('clinc150/train.jsonl').iloc[::k].reset_index(drop=True))

def against(new, base, how, n):
    "The base's value, the adapters' mean over seeds, and the difference with its interval"
    return dict(base=float(how(base, np.arange(n))), adapter=float(np.mean([how(x, np.arange(n)) for x in new])), **interval(lambda at: np.mean([how(x, at) for x in new])-how(base, at), n))

def plot(rows, losses):
    "Gains of each adapter, and the subsets of the retrieval loss"
    fig,axes = plt.subplots(1, 2, figsize=(11,3.6))
    for ax,d,title in zip(axes, (pd.DataFrame(rows), pd.DataFrame(losses)), ('adapter less base, points, 95% interval','retrieval: each subset of the loss less the base, points')):
        d = d[::-1].reset_index(drop=True); ax.errorbar(100*d['value'], d.index, xerr=100*np.array([d['value']-d.low, d.high-d['value']]), fmt='o', capsize=3); ax.axvline(0, c='k', lw=.8)
        ax.set_yticks(d.index, d.name); ax.set_title(title, fontsize=9); ax.grid(axis='x', alpha=.3)
    fig.tight_layout(); fig.savefig(HERE/'results'/'adapt.png', dpi=110)

@call_parse
def main(
    leaf:str=None, # Folder of the base
    out:str=None, # Folder of the adapters; default: a temporary one
    steps:int=400, # Of text-matching, clustering and classification
    retrieval_steps:int=250, # Of retrieval, and of each subset of its loss
    seeds:int=3, # Runs of each
    quick:bool=False, # A twentieth, one seed: only to see that the script works; nothing is saved
):
    "Prints the tables; writes bench/results/adapt.json and .png unless `quick`"
    if leaf is None: raise SystemExit('Which base? Type --leaf DIR')
    if quick: steps,retrieval_steps,seeds = 12,8,1
    out,d,base = Path(out or tempfile.mkdtemp()),data(quick),load_leaf(leaf); teacher = as_teacher('offline', MAX, 'cpu'); rows,start,cache = [],time.perf_counter(),out/'vectors'
    def make(task, table, seed, name=None, **kw): return adapt(leaf, task, table, out/'base', name=f'{name or task}-{seed}', seed=seed, cache=cache/(name or task).split('/')[0], progress=False, **kw)
    def report(name, r): rows.append(dict(name=name, **r)); print(f'{time.perf_counter()-start:6.0f} s', name, {k: round(100*v, 2) for k,v in r.items()}, flush=True)
    # text-matching
    train,test = d['sts']; cos = [sts(make('text-matching', train, s, steps=steps), test) for s in range(seeds)]; y = test.score.to_numpy()
    report('text-matching: stsb, Spearman', against(cos, sts(base, test), lambda c,at: spearman(c[at], y[at]), len(test)))
    # classification, on its own labels and on others
    train,test = d['banking']; mean = lambda v,at: v[at].mean(); was = few_shot(base, train, test)
    for name,table in (('banking77', train), ('clinc150', d['clinc'])):
        right = [few_shot(make('classification', table, s, f'classification-{name}', steps=steps, bs=32), train, test) for s in range(seeds)]
        report(f'classification: banking77, learned on {name}', against(right, was, mean, len(test)))
    # clustering: the teacher told to look for the topic
    kind = 'Identify the topic or theme of the given document: '; told = encode(teacher.model, test.text.tolist(), kind, MAX); plain = encode(teacher.model, test.text.tolist(), max_length=MAX)
    leaves = [make('clustering', dict(text=d['clinc'].text.tolist()+train.text.tolist()[:3000]), s, steps=steps) for s in range(seeds)]; e = lambda l: embedder(l.model, l.info.get('prompts'), MAX)(test.text.tolist(), 'document')
    v = [v_measures(l, test) for l in leaves]; was = v_measures(base, test); near = [cosine(normalize(e(l)), told) for l in leaves]
    rows.append(dict(name='clustering: banking77, v-measure', base=float(np.mean(was)), adapter=float(np.mean(v)), value=float(np.mean(v)-np.mean(was)), low=float(np.mean(v)-np.mean(was)-1.96*np.std(was)), high=float(np.mean(v)-np.mean(was)+1.96*np.std(was))))
    clustering = dict(teacher=float(np.mean([v_measure_score(test.label, MiniBatchKMeans(test.label.nunique(), batch_size=512, n_init=3, random_state=i).fit_predict(plain)) for i in range(5)])),
        teacher_told=float(np.mean([v_measure_score(test.label, MiniBatchKMeans(test.label.nunique(), batch_size=512, n_init=3, random_state=i).fit_predict(told)) for i in range(5)])),
        cosine_to_told=against(near, cosine(normalize(e(base)), told), mean, len(test)))
    print('clustering', clustering, flush=True)
    # retrieval: the whole loss, and every subset of it
    docs = {t.name: embedder(teacher)(t.documents, 'document') for t in d['tasks']}; tasks = d['tasks']; at = np.cumsum([0]+[len(t.queries) for t in tasks])
    def ranks(l, binary=False): return np.concatenate([rank(l, t, binary=binary) for t in tasks])
    def by_task(v, rows_): return np.mean([v[a:b].mean() if rows_ is None else v[a:b][rows_[(rows_>=a)&(rows_<b)]-a].mean() for a,b in zip(at, at[1:])])
    was,was_binary,losses,binary,full = ranks(base),ranks(base, True),[],[],dict(infonce=1., distill=2., gor=1.)
    for n in (3,2,1):
        for keep in combinations(full, n):
            if keep==('gor',): continue # alone it asks for nothing but spread
            name,w = ' + '.join(keep),{k: v if k in keep else 0. for k,v in full.items()}
            made = [make('retrieval', d['train'], s, f"retrieval-{'-'.join(keep)}", steps=retrieval_steps, weights=w, bs=48) for s in range(seeds)]
            losses.append(dict(name=name, **against([ranks(l) for l in made], was, by_task, len(was)))); print(f'{time.perf_counter()-start:6.0f} s', losses[-1], flush=True)
            if 'infonce' in keep and 'distill' in keep: binary.append(dict(name=name, **against([ranks(l, True) for l in made], was_binary, by_task, len(was))))
            if n==3:
                report('retrieval: three tasks, standard, nDCG@10', {k: v for k,v in losses[-1].items() if k!='name'})
                for t,a,b in zip(tasks, at, at[1:]): report(f'retrieval: {t.name}, standard', against([rank(l, t) for l in made], was[a:b], mean, b-a))
                for t in tasks: report(f'retrieval: {t.name}, asymmetric', against([rank(l, t, docs[t.name]) for l in made], rank(base, t, docs[t.name]), mean, len(t.queries)))
    res = dict(command='python bench/adapt.py --leaf DIR', machine=machine(), settings=dict(steps=steps, retrieval_steps=retrieval_steps, seeds=seeds, max_length=MAX), rows=rows, losses=losses, binary=binary, clustering=clustering, seconds=time.perf_counter()-start)
    print(pd.DataFrame(rows).round(4).to_string(), pd.DataFrame(losses).round(4).to_string(), pd.DataFrame(binary).round(4).to_string(), sep='\n')
    if quick: return
    save('adapt', res); plot(rows, losses)
