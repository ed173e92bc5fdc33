"""What each choice of a distillation is worth: one thing changed at a time, everything else as it is, on three seeds.

`python bench/ablate.py`; `--teacher DIR` for another than the offline one, `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Every run sees as many texts. Quality is asymmetric retention of nDCG@10, the mean of scifact and documentation pairs; a difference is taken query by query against the run with the same seed, averaged over seeds, and its interval is by bootstrap over queries."""
import copy, json, tempfile, time
from itertools import chain
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd
from datasets import Dataset
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from transformers import AutoModel
from common import HERE, Judge, fast_teacher, machine, save, shared_texts, two_tasks
from leaf_nb.batches import Batches, tokenise
from leaf_nb.cache import embed
from leaf_nb.encoding import fast_precision
from leaf_nb.loop import Trainer, for_training, run_steps
from leaf_nb.metrics import paired_bootstrap
from leaf_nb.solve import make_student
from leaf_nb.student import add_head, find_layers, prune, solve_head, states
from leaf_nb.texts import as_prompts

MAX = 128 # tokens a text
DEFAULT = dict(loss='l2', bs=32, lr=5e-4, texts='both', start='solved', student='prune:2', bias=True, scale=10.)
SETTINGS = {
    'loss': {'distance': {}, 'squared distance': dict(loss='l2_squared'), 'cosine': dict(loss='cosine')},
    'texts a step': {'32': {}, '16': dict(bs=16), '256': dict(bs=256), '256, rate x 2.8': dict(bs=256, lr=1.4e-3)},
    'rate of word embeddings': {'x 10': {}, 'as the layers': dict(scale=1.), 'x 30': dict(scale=30.), 'frozen': dict(scale=1e-9)},
    'learns from': {'queries and documents': {}, 'queries only': dict(texts='query')},
    'start': {'all solved': {}, 'head not solved': dict(start='no head'), 'head alone solved': dict(start='head'),
        'nothing solved': dict(start='nothing'), 'random weights, head solved': dict(start='random')},
    'layers': {'last two': {}, 'first and last': dict(student='prune:0,5'), 'two from between': dict(student='prune:1,4'),
        'last': dict(student='prune:1'), 'last three': dict(student='prune:3')},
    'head': {'with offset': {}, 'without': dict(bias=False)},
}

def fresh(model, dim, bias, norm):
    return add_head(SentenceTransformer(modules=[m for m in model if not isinstance(m, (Dense, Normalize))], prompts=model.prompts,
        device='cpu'), dim, bias, norm)

def begin(teacher, texts, vectors, start, student, bias):
    "A student with what `start` says solved; seconds"
    began = time.perf_counter(); dim = vectors.shape[1]; model = teacher.model; n = len(getattr(*find_layers(model)))
    if start in ('solved','no head'):
        s,_ = make_student(student, teacher, texts, vectors, bias, MAX)
        if start=='no head': s = fresh(s, dim, bias, True)
    else:
        s = fresh(prune(model, range(n-2, n)), dim, bias, True)
        if start=='random': s[0].auto_model.load_state_dict(AutoModel.from_config(s[0].auto_model.config).state_dict())
        if start!='nothing': solve_head(s, states(s, texts, max_length=MAX), vectors)
    return s, time.perf_counter()-began

def train(student, tokens, vectors, rows, val, loss, bs, lr, scale, seed):
    "Once through `rows`; the held-out cosine and seconds"
    with for_training(student, p := fast_precision('cpu')):
        t = Trainer(student, tokens, vectors, Batches(tokens.lengths, [rows], None, bs, seed), val, loss, lr, p, scale)
        run_steps(t, t.batches.per_epoch, evals=1, progress=False)
    return t.history[-1]['cosine'], t.history[-1]['seconds']

def table(runs):
    "One row a setting: retention, its difference to the default with an interval, held-out cosine"
    base,rows = {r['seed']: np.array(r['scores']) for r in runs if r['setting']==next(iter(SETTINGS['loss']))},[]
    for (group,name),rs in {(r['group'],r['setting']): [x for x in runs if (x['group'],x['setting'])==(r['group'],r['setting'])]
        for r in runs}.items():
        mine,ref = (np.mean(x, 0) for x in ([r['scores'] for r in rs], [base[r['seed']] for r in rs]))
        d = paired_bootstrap(mine, ref, stat='difference')
        rows.append(dict(group=group, setting=name, retention=float(mine.mean()), difference=d.value, low=d.low, high=d.high,
            seeds=[round(float(np.mean(r['scores'])), 2) for r in rs], cosine=float(np.mean([r['cosine'] for r in rs])),
            start_seconds=float(np.mean([r['start_seconds'] for r in rs])), train_seconds=float(np.mean([r['train_seconds'] for r in rs]))))
    return pd.DataFrame(rows)

def plot(d, path):
    "Differences to the default, with intervals"
    d = d[d.difference!=0][::-1].reset_index(drop=True)
    fig,ax = plt.subplots(figsize=(7, .32*len(d)+1.2))
    colors = {g: f'C{i}' for i,g in enumerate(SETTINGS)}
    for i,r in d.iterrows():
        ax.plot([r.low,r.high], [i,i], c=colors[r.group], lw=3, alpha=.5)
        ax.plot(r.difference, i, 'o', c=colors[r.group])
    ax.axvline(0, c='k', lw=.8)
    ax.set_yticks(range(len(d)), d.group+': '+d.setting)
    ax.set_xscale('symlog', linthresh=2)
    ax.set_xticks([-50,-20,-10,-5,-2,-1,0,1,2], ['-50','-20','-10','-5','-2','-1','0','1','2'])
    ax.grid(axis='x', alpha=.3)
    ax.set(xlabel='points of asymmetric retention, 95% interval', title='What each choice is worth, against the default')
    fig.tight_layout()
    fig.savefig(path, dpi=110)

@call_parse
def main(
    teacher:str='offline', # Another is a folder
    n:int=12_000, # Texts that every run sees, half of them queries
    seeds:int=3, # Runs of each setting
    name:str='ablate', # Of the results
    out:str=None, # Folder of finished runs, where one that was stopped goes on; default: a temporary one
    quick:bool=False, # A tenth, one seed: only to see that the script works; nothing is saved
):
    "Prints the table; writes bench/results/NAME.json and .png unless `quick`"
    if quick: n,seeds = 1200,1
    t = fast_teacher(teacher, MAX)
    own = {r: p['student'] for r,p in as_prompts(None, t.prompts).items()}
    half,n_val = n//2,300
    texts = dict(document=list(chain(shared_texts('passages', half//2+n_val//2), shared_texts('glosses', half//2+n_val//2))),
        query=shared_texts('queries', n+n_val))
    vectors = embed(t, texts, Path(tempfile.mkdtemp())/'v')
    n_doc = len(texts['document'])
    flat = texts['document']+texts['query']
    role = ['document']*n_doc+['query']*len(texts['query'])
    tokens = tokenise(t.model, Dataset.from_dict(dict(text=flat, role=role)), Path(tempfile.mkdtemp())/'tokens.arrow', own, MAX)
    judge = Judge(t, two_tasks())
    log = Path(out or tempfile.mkdtemp())/'runs.jsonl'; log.parent.mkdir(parents=True, exist_ok=True)
    runs = [json.loads(l) for l in log.read_text().splitlines()] if log.exists() else []
    done = {(r['seed'],r['group'],r['setting']) for r in runs}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        docs,queries = rng.permutation(n_doc),n_doc+rng.permutation(len(texts['query']))
        val = np.r_[docs[half:half+n_val],queries[n:n+n_val]]
        pools = dict(both=np.r_[docs[:half],queries[:n-half]], query=queries[:n]); made = {}
        for group,settings in SETTINGS.items():
            for label,change in settings.items():
                if (seed,group,label) in done or not change and group!='loss': continue # the default is trained once a seed
                c = DEFAULT | change; key = (c['start'],c['student'],c['bias'],c['texts'])
                if key not in made:
                    some = np.random.default_rng(seed).permutation(pools[c['texts']])[:4000]
                    made[key] = begin(t, [own[role[i]]+flat[i] for i in some], np.asarray(vectors[some], np.float32), *key[:3])
                student = copy.deepcopy(made[key][0])
                cos,took = train(student, tokens, vectors, pools[c['texts']], val, c['loss'], c['bs'], c['lr'], c['scale'], seed)
                runs.append(dict(group=group, setting=label, seed=seed, cosine=cos, start_seconds=made[key][1], train_seconds=took,
                    scores=np.round(judge.scores(student, own['query']), 2).tolist()))
                with log.open('a') as h: h.write(json.dumps(runs[-1])+'\n')
                print(seed, group, label, f"{np.mean(runs[-1]['scores']):.2f} {cos:.4f} {took:.0f}s", flush=True)
    d = table(runs); pd.set_option('display.width', 200); print(d.drop(columns='seeds').round(3).to_string(index=False))
    if quick: return
    save(name, dict(command='python bench/ablate.py'+('' if teacher=='offline' else f' --teacher DIR --name {name}'), machine=machine(),
        teacher=t.name, settings=DEFAULT | dict(texts_seen=n, seeds=seeds, max_length=MAX), rows=d.to_dict('records')))
    plot(d, HERE/'results'/f'{name}.png')
