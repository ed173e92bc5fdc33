"""`distill` against sentence-transformers' own trainer: same texts, same cached vectors, same two layers kept of the same teacher.

Three rivals: the recipe that its documentation gives (MSE, layers 1 and 4, rate 1e-4); its trainer at its best, found by a search over loss, rate, layers, precision and attention that is scored on the very tasks of the comparison
(to its advantage); the same given our solved start. Each has a schedule fitted to its time, the same for all, our solve included. Quality is asymmetric retention of nDCG@10 on scifact and on documentation pairs, averaged. Embedding the training texts is the same for all and not counted; our solve is.

`python bench/train_vs_sentence_transformers.py`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`."""
import copy, json, tempfile, time
from itertools import chain
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from datasets import Dataset
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers import losses as st
from sentence_transformers.sentence_transformer.modules import Normalize
from transformers import TrainerCallback
from common import HERE, Judge, machine, save, shared_texts, two_tasks
from leaf_nb.batches import Batches, tokenise
from leaf_nb.cache import embed
from leaf_nb.encoding import fast_precision
from leaf_nb.loop import Trainer, for_training, lr_at
from leaf_nb.solve import make_student
from leaf_nb.student import add_head, prune
from leaf_nb.teacher import as_teacher

MAX = 128 # tokens a text

class Clock:
    "Time spent on training alone, and quality at given seconds of it"
    def __init__(self, judge, at, solve=0.):
        self.judge,self.at,self.spent,self.start,self.points = judge,list(at),solve,time.perf_counter(),[]
    def tick(self, model, last=False):
        now = time.perf_counter(); self.spent += now-self.start
        if last or (self.at and self.spent>=self.at[0]):
            while self.at and self.spent>=self.at[0]: self.at.pop(0)
            self.points.append(dict(seconds=self.spent, **self.judge(model)))
        self.start = time.perf_counter()

class Watch(TrainerCallback):
    "Stops their trainer when its time is over; evaluates on the way"
    def __init__(self, clock, model, seconds): self.clock,self.model,self.seconds = clock,model,seconds
    def on_train_begin(self, args, state, control, **kw): self.clock.start = time.perf_counter() # what it does before is not counted
    def on_step_end(self, args, state, control, **kw):
        self.clock.tick(self.model)
        if self.clock.spent>=self.seconds: control.should_training_stop = True

class Loss(torch.nn.Module):
    "The plain norm as a loss of their trainer"
    def __init__(self, model): super().__init__(); self.model = model
    def forward(self, features, labels): return (self.model(features[0])['sentence_embedding']-labels).norm(dim=1).mean()

def their_loss(kind, model):
    return dict(mse=lambda: st.MSELoss(model), cosine=lambda: st.EmbedDistillLoss(model, distance_metric='cosine'),
        l2=lambda: Loss(model))[kind]()

def theirs(data, start, clock, seconds, kind='mse', lr=1e-4, bf16=False, eager=False, steps=None, bs=32, seed=0):
    "Their trainer for `seconds`; `steps` fits the schedule to them. Returns steps taken and tokens seen"
    model = start()
    args = SentenceTransformerTrainingArguments(tempfile.mkdtemp(), per_device_train_batch_size=bs, learning_rate=lr, warmup_steps=.1,
        max_steps=steps or 10**6, bf16=bf16, use_cpu=True, seed=seed, save_strategy='no', eval_strategy='no', report_to=[],
        logging_strategy='no', disable_tqdm=True)
    if eager: model[0].auto_model.set_attn_implementation('eager')
    model.max_seq_length = MAX; w = Watch(clock, model, seconds)
    t = SentenceTransformerTrainer(model, args, train_dataset=data, loss=their_loss(kind, model), callbacks=[w])
    t.train()
    clock.tick(model, last=True)
    return t.state.global_step

def ours(tokens, vectors, start, clock, steps, lr=4e-4, precision=None, seed=0):
    "Our steps, from a start that is already solved (its time is on the clock)"
    student = start(); precision = precision or fast_precision('cpu'); n = np.arange(len(tokens))
    with for_training(student, precision):
        t = Trainer(student, tokens, vectors, Batches(tokens.lengths, [n], None, 32, seed), n[:100], lr=lr, precision=precision,
            embedding_lr_scale=1.) # one rate for all weights, as the others have
        clock.start = time.perf_counter()
        for i in range(steps): t.step(t.batches[i], lr_at(i, steps, lr)); t.done += 1; clock.tick(student)
    clock.tick(student, last=True)

def reached(points, goal):
    "Seconds until the mean first reaches `goal`, between evaluations by line; None if never"
    for a,b in zip([dict(seconds=0., mean=-1e9), *points], points):
        if b['mean']>=goal:
            return b['seconds'] if a['mean']<0 else a['seconds']+(b['seconds']-a['seconds'])*(goal-a['mean'])/(b['mean']-a['mean'])

def throughput(data, tokens, vectors, body, seconds=20):
    "Texts and tokens a second of both loops at 32 texts, interleaved, three times; and what padding alone allows"
    n = np.arange(len(tokens)); rows = []
    perm = np.random.default_rng(0).permutation(n); widest = [tokens.lengths[perm[i:i+32]].max()*32 for i in range(0, len(n), 32)]
    for _ in range(3):
        for name,kw in {'theirs, fp32': {}, 'theirs, bf16': dict(bf16=True),
            'theirs, bf16 and eager attention': dict(bf16=True, eager=True)}.items():
            c = Clock(lambda m: dict(mean=0.), [])
            k = theirs(data, lambda: copy.deepcopy(body), c, seconds, **kw)
            rows.append(dict(loop=name, texts_per_second=k*32/c.spent))
        for p in ('fp32', fast_precision('cpu')):
            c = Clock(lambda m: dict(mean=0.), []); s = copy.deepcopy(body)
            with for_training(s, p):
                t = Trainer(s, tokens, vectors, Batches(tokens.lengths, [n]), n[:100], precision=p); c.start = time.perf_counter(); k = 0
                while c.spent<seconds: t.step(t.batches[k], 1e-5); k += 1; c.tick(s)
            rows.append(dict(loop=f'ours, {p}', texts_per_second=k*32/c.spent))
    d = pd.DataFrame(rows); d = d.groupby('loop', sort=False).median(); d['tokens_per_second'] = d.texts_per_second*tokens.lengths.mean()
    best = d[d.index.str.startswith('theirs')].texts_per_second
    return d.round(1), dict(throughput_ratio=float(d.texts_per_second.iloc[-1]/best.iloc[0]),
        throughput_ratio_to_its_best=float(d.texts_per_second.iloc[-1]/best.max()),
        padding_alone_allows=float(sum(widest)/tokens.lengths.sum()))

def pruned(teacher, layers):
    "What their documentation makes of a teacher: fewer layers, its own pooling and normalisation"
    return SentenceTransformer(modules=[*prune(teacher, list(layers)), Normalize()], device='cpu')

def search(data, teacher, table, judge, trial):
    "Their best: one setting after another, scored on the tasks of the comparison"
    best = table.texts_per_second[table.index.str.startswith('theirs')].idxmax(); trials = []
    fast = dict(bf16='bf16' in best, eager='eager' in best)
    def one(layers, **kw):
        c = Clock(judge, [])
        theirs(data, lambda: pruned(teacher, layers), c, trial*1.5, steps=int(trial*table.texts_per_second[best]/32), **fast, **kw)
        trials.append(dict(layers=str(layers), **kw, **c.points[-1])); print(trials[-1], flush=True); return c.points[-1]['mean']
    grid = {(kind,lr): one((0,5), kind=kind, lr=lr) for kind,lr in [('mse',1e-3),('cosine',3e-4),('cosine',1e-3),('l2',3e-4),('l2',1e-3)]}
    kind,lr = max(grid, key=grid.get)
    more = {l: one((0,5), kind=kind, lr=l) for l in (lr*.5, lr*2)} | {lr: grid[kind,lr]}
    lr = max(more, key=more.get)
    layers = max([(0,5),(1,5),(4,5)], key=lambda l: more[lr] if l==(0,5) else one(l, kind=kind, lr=lr))
    res = dict(search=trials, best=dict(kind=kind, lr=lr, layers=layers, **fast)); print(res['best'], flush=True); return res

def plot(res):
    "Quality against time, all seeds"
    fig,ax = plt.subplots(figsize=(7,3.6)); colors = dict(zip(dict.fromkeys(r['row'] for r in res['runs']), ('C2','C0','C1','C3')))
    for r in res['runs']:
        ax.plot([p['seconds'] for p in r['points']], [p['mean'] for p in r['points']], 'o-', ms=3, c=colors[r['row']], alpha=.7,
            label=r['row'] if r['seed']==0 else None)
    ax.set(xlabel='seconds, solving included', ylabel='% of teacher nDCG@10',
        title='Leaf queries against teacher documents: scifact and documentation pairs')
    ax.set_ylim(bottom=30)
    ax.grid(alpha=.3)
    ax.legend()
    fig.tight_layout()
    fig.savefig(HERE/'results'/'train_vs_sentence_transformers.png', dpi=110)

@call_parse
def main(
    quick:bool=False, # Everything once, on a fiftieth: only to see that the script works; nothing is saved
    seconds:float=300., # Of training for each rival
    trial:float=45., # Of each run of the search
    seeds:int=3, # Runs of each row
    n_solve:int=500, # Texts that our start is solved on
    lr:float=4e-4, # Our peak rate
    cache:str=None, # Folder of the teacher's vectors; None: a temporary one
    ours_only:bool=False, # Our rows anew, beside those of the others in the results file, on the same machine
):
    "Prints the table; writes bench/results/train_vs_sentence_transformers.json and .png unless `quick`"
    if quick: seconds,trial,seeds = 8.,3.,1
    k = 50 if quick else 1
    texts = list(chain(shared_texts('queries', 20_000//k), shared_texts('passages', 10_000//k), shared_texts('glosses', 10_000//k)))
    texts = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    cpu = as_teacher('offline', None, 'cpu')
    teacher = cpu.model
    vectors = np.asarray(embed(as_teacher('offline', MAX, 'cpu'), texts, cache or Path(tempfile.mkdtemp())/'v'))
    tokens = tokenise(teacher, Dataset.from_dict(dict(text=texts, role=['document']*len(texts))), Path(tempfile.mkdtemp())/'tokens.arrow',
        max_length=MAX)
    judge = Judge(cpu, two_tasks(10_000//k, 2500//k))
    data = Dataset.from_dict(dict(sentence=texts)).add_column('label', list(vectors.astype(np.float32))).with_format('torch',
        columns=['label'], output_all_columns=True)
    body = add_head(prune(teacher, [0,5]), 384)
    res = dict(command='python bench/train_vs_sentence_transformers.py', machine=machine(),
        settings=dict(texts=len(texts), max_length=MAX, seconds=seconds, trial=trial, seeds=seeds, n_solve=n_solve, lr=lr,
        tokens_per_text=float(tokens.lengths.mean())))
    f = HERE/'results'/'train_vs_sentence_transformers.json'
    if ours_only: # what the others did stands in the file
        old = json.loads(f.read_text()); was = old['settings']
        res = old | dict(settings=res['settings'] | dict(n_solve_rivals=was.get('n_solve_rivals', was['n_solve'])))
        if (was := (old['machine']['cpu'], old['settings']['seconds'], old['settings']['seeds']))!=(machine()['cpu'], seconds, seeds):
            raise SystemExit(f"{f} is of another machine, time or number of seeds: {was}. Run all of it, without --ours_only.")
        table,runs = pd.DataFrame(old['throughput']).T,[r for r in old['runs'] if r['row']!='ours']
    else:
        table,ratios = throughput(data, tokens, vectors, body, trial/3)
        print(table, ratios, flush=True)
        res,runs = res | ratios | dict(throughput=table.to_dict('index')) | search(data, teacher, table, judge, trial),[]
    steps = lambda rate, spent=0.: max(1, int((seconds-spent)*rate/32))
    def solved(seed):
        start = time.perf_counter(); pick = np.random.default_rng(seed).permutation(len(texts))[:n_solve]
        s,_ = make_student('prune:2', cpu, [texts[i] for i in pick], vectors[pick].astype(np.float32), max_length=MAX)
        return s, time.perf_counter()-start
    def note(row, seed, c, **kw): runs.append(dict(row=row, seed=seed, points=c.points, **kw)); print(row, c.points[-1], flush=True)
    kw = dict(res['best']); layers,their_rate = kw.pop('layers'),table.texts_per_second[table.index.str.startswith('theirs')].max()
    for seed in range(seeds):
        start,solve = solved(seed); same = lambda: copy.deepcopy(start)
        c = Clock(judge, [s*seconds/300 for s in (0,5,10,15,20,30,40,50,60,80,100,120,150,200,250)], solve)
        c.tick(same())
        ours(tokens, vectors, same, c, steps(table.texts_per_second.iloc[-1], solve), lr, seed=seed)
        note('ours', seed, c, solve=solve)
        for row,begin,rate,spent,how in () if ours_only else [('its best', lambda: pruned(teacher, layers), their_rate, 0., kw),
            ('its best, from our solved start', same, their_rate, solve, kw),
            ('as documented', lambda: pruned(teacher, (1,4)), table.texts_per_second.iloc[0], 0., dict(kind='mse', lr=1e-4))]:
            c = Clock(judge, [seconds*f for f in (.05,.1,.2,.4,.6,.8)], spent)
            theirs(data, begin, c, seconds, seed=seed, steps=steps(rate, spent), **how)
            note(row, seed, c)
    res['runs'] = sorted(runs, key=lambda r: r['row']!='ours')
    final = lambda row: float(np.mean([r['points'][-1]['mean'] for r in runs if r['row']==row]))
    mine = [r for r in runs if r['row']=='ours']
    curve = [dict(seconds=float(np.mean([p['seconds'] for p in ps])), mean=float(np.mean([p['mean'] for p in ps])))
        for ps in zip(*(r['points'] for r in mine))]
    res |= dict(retention_asymmetric=round(final('ours')/100, 4), retention_percent={row: round(final(row), 2) for row in dict.fromkeys(r['row']
        for r in runs)},
        reached={row: reached(curve, final(row)) for row in dict.fromkeys(r['row'] for r in runs) if row!='ours'})
    for key,row in dict(time_to_quality_ratio='its best', time_to_quality_ratio_as_documented='as documented').items():
        res[key] = None if res['reached'][row] is None else round(seconds/res['reached'][row], 2)
    print(json.dumps({k: res[k] for k in ('throughput_ratio','throughput_ratio_to_its_best','padding_alone_allows','retention_percent',
        'reached','time_to_quality_ratio','time_to_quality_ratio_as_documented')}, indent=1))
    if quick: return
    save('train_vs_sentence_transformers', res); plot(res)
