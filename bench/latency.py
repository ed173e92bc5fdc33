"""How fast a leaf answers: teacher and leaves, torch and ONNX, float32 and int8, in one interleaved run; and LEAF's own pair of shapes.

`python bench/latency.py`; `--leaf DIR` adds what int8 weights cost a trained leaf on scifact; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Speed depends on shapes and not on values: students are pruned and not trained, LEAF's shapes (12 layers of 768 against 6 of 384 with a head) have random weights. Queries are real questions, documents real passages. A batch has 32 texts of like length; a
single query counts with its tokenising, and for ONNX without it, too. Loading is timed in fresh processes, ONNX with onnxruntime and tokenizers alone."""
import json, tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel
from common import HERE, SHARED, fresh_ms, machine, made, save, shared_texts
from leaf_nb.counts import fast_tokenizer, static_model
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.export import save_whole
from leaf_nb.folder import load_leaf
from leaf_nb.graph import OnnxLeaf, to_onnx
from leaf_nb.metrics import paired_bootstrap
from leaf_nb.sides import embedder
from leaf_nb.student import add_head, prune
from leaf_nb.tasks import load_beir, quality

def shape(layers, width, heads, dim, tmp):
    "A BERT of that shape with random weights, mean pooling, and a head where widths differ"
    torch.manual_seed(0); d = tmp/f'{layers}x{width}'
    BertModel(BertConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4*width),
        add_pooling_layer=False).save_pretrained(d)
    offline_teacher('cpu').tokenizer.save_pretrained(d)
    m = SentenceTransformer(modules=[Transformer(str(d)), Pooling(width), Normalize()], device='cpu')
    m.max_seq_length = 512
    return add_head(m, dim) if width!=dim else m

def static(teacher):
    "A table over the teacher's vocabulary; any numbers serve"
    tok = fast_tokenizer(teacher.tokenizer)
    return static_model(tok, np.random.default_rng(0).normal(size=(tok.get_vocab_size(),
        teacher.get_embedding_dimension())).astype(np.float32))

def runners(models, tmp):
    "(name, kind) -> (encode, run of one text that is tokenised already or None, megabytes, code that loads it)"
    res = {}
    for n,m in models.items():
        d = tmp/f"torch-{n.replace(':', '')}"; save_whole(m, d); size = sum(f.stat().st_size for f in d.rglob('*.safetensors'))/1e6
        load = f'from sentence_transformers import SentenceTransformer\nSentenceTransformer({str(d)!r}, device="cpu")'
        res[n,'torch'] = (lambda ts,m=m: encode(m, ts)), None, size, load
        o = tmp/f"onnx-{n.replace(':', '')}"; to_onnx(m, o, precisions=('int8',))
        for kind,f in (('ONNX','model.onnx'), ('ONNX int8','model_quantized.onnx')):
            g = OnnxLeaf(o, f)
            def ready(text, g=g):
                e = g.tokenizer.encode(text)
                x = dict(input_ids=np.array([e.ids], np.int64), attention_mask=np.array([e.attention_mask], np.int64))
                return lambda: g.session.run(['sentence_embedding'], x)
            load = (f'import onnxruntime, tokenizers\nonnxruntime.InferenceSession({str(o/"onnx"/f)!r})\n'
                f'tokenizers.Tokenizer.from_file({str(o/"tokenizer.json")!r})')
            res[n,kind] = g.encode, ready, (o/'onnx'/f).stat().st_size/1e6, load
    return res

def timed(f): start = time.perf_counter(); f(); return time.perf_counter()-start

def rested(enc, text):
    "Two calls that do not count, once the threads of the runner before have gone to sleep: onnxruntime's go on spinning for a while"
    time.sleep(.05); enc([text]); enc([text])

def measure(res, queries, documents, runs=3, single=100, block=20):
    "A row a runner, all of them interleaved; single queries in blocks, as they come to a server that does nothing else"
    took = {k: dict(queries=[], documents=[], one=[], run=[]) for k in res}
    for _ in range(runs):
        for k,(enc,*_) in res.items():
            rested(enc, queries[0])
            took[k]['queries'].append(timed(lambda: enc(queries))/len(queries))
            took[k]['documents'].append(timed(lambda: enc(documents))/len(documents))
    for at in range(0, single, block):
        for k,(enc,ready,*_) in res.items():
            rested(enc, queries[0]); some = queries[at:min(at+block, single)]
            took[k]['one'] += [1000*timed(lambda: enc([q])) for q in some]
            if ready: took[k]['run'] += [1000*timed(ready(q)) for q in some]
    return pd.DataFrame([dict(model=n, runtime=kind, queries_per_second=1/np.median(t['queries']),
        documents_per_second=1/np.median(t['documents']),
        **{f'p{p}_ms': float(np.percentile(t['one'], p)) for p in (50,95,99)}, run_p50_ms=float(np.median(t['run'])) if t['run'] else None,
        megabytes=res[n,kind][2]) for (n,kind),t in took.items()])

def ratios(d, big, small, runtime):
    "How much faster the small one is"
    a,b = (d[(d.model==m)&(d.runtime==runtime)].iloc[0] for m in (big, small))
    return dict(documents=b.documents_per_second/a.documents_per_second, queries=b.queries_per_second/a.queries_per_second,
        p50=a.p50_ms/b.p50_ms) | ({} if a.run_p50_ms is None or np.isnan(a.run_p50_ms) else dict(run_p50=a.run_p50_ms/b.run_p50_ms))

def cost_of_int8(leaf, tmp):
    "nDCG@10 on scifact of a trained leaf's queries against the teacher's documents: torch, ONNX, int8"
    t = load_beir(SHARED/'data'/'eval'/'scifact')
    docs = embedder(offline_teacher('cpu'), progress=True)(t.documents, 'document')
    m = SentenceTransformer(leaf, device='cpu')
    table = to_onnx(m, tmp/'trained', texts=t.queries[:100])
    answer = {'torch': lambda q: encode(m, q)} | {p: OnnxLeaf(tmp/'trained', Path(f).name).encode for p,f in table.file.items()}
    s = {k: quality(t, e(t.queries), docs) for k,e in answer.items()}
    keeps = {k: paired_bootstrap(v, s['torch']) for k,v in s.items() if k!='torch'}
    return dict(leaf=made(load_leaf(leaf).info), ndcg={k: float(v.mean()) for k,v in s.items()}, parity=table.drop(columns='file').to_dict('index'),
        keeps={k: dict(value=i.value, low=i.low, high=i.high) for k,i in keeps.items()})

def plot(d):
    "Milliseconds of one query, and documents a second"
    names = list(d.model.unique()); fig,axes = plt.subplots(1, 2, figsize=(10,3.4)); kinds = list(d.runtime.unique())
    for ax,col,label in zip(axes, ('p50_ms','documents_per_second'), ('milliseconds of one query, median; line to the 95th percentile',
        'documents a second')):
        for i,k in enumerate(kinds):
            v = d[d.runtime==k].set_index('model').loc[names]; x = np.arange(len(names))+(i-1)*.27
            ax.bar(x, v[col], .25, color=f'C{i}', label=k)
            if col=='p50_ms': ax.vlines(x, v.p50_ms, v.p95_ms, color='k', lw=1)
        ax.set_xticks(range(len(names)), names); ax.set(yscale='log', title=label); ax.grid(axis='y', alpha=.3); ax.title.set_fontsize(9)
    axes[0].legend(fontsize=8); fig.tight_layout(); fig.savefig(HERE/'results'/'latency.png', dpi=110)

@call_parse
def main(
    leaf:str=None, # Folder of a trained leaf of the offline teacher: int8's cost in quality
    quick:bool=False, # Few texts: only to see that the script works; nothing is saved
):
    "Prints the tables; writes bench/results/latency.json and .png unless `quick`"
    tmp,teacher = Path(tempfile.mkdtemp()),offline_teacher('cpu')
    n = 64 if quick else 512
    queries,documents = shared_texts('queries', n),shared_texts('passages', n//4); runs,single = (1,10) if quick else (3,200)
    models = {'teacher': teacher, **{f'prune:{k}': add_head(prune(teacher, range(6-k, 6)), 384) for k in (3,2,1)},
        'static': static(teacher)}
    res = runners(models, tmp); d = measure(res, queries, documents, runs, single)
    d['load_ms'] = [fresh_ms(res[m,r][3], 1 if quick else 3) for m,r in zip(d.model, d.runtime)]
    print(d.round(2).to_string(index=False), flush=True)
    pair = {'12 layers of 768': shape(12, 768, 12, 768, tmp), '6 layers of 384 + head': shape(6, 384, 12, 768, tmp)}
    p = measure(runners(pair, tmp), queries[:128], documents[:32], 1 if quick else 2, 10 if quick else 50)
    print(p.round(2).to_string(index=False), flush=True)
    at = lambda col: d.pivot(index='model', columns='runtime', values=col); ms,docs = at('p50_ms'),at('documents_per_second')
    out = dict(command='python bench/latency.py'+(' --leaf DIR' if leaf else ''), machine=machine(),
        settings=dict(queries=len(queries), documents=len(documents), runs=runs, single=single), rows=d.to_dict('records'),
        leaf_shapes=p.to_dict('records'), prune2_over_teacher={k: ratios(d, 'teacher', 'prune:2', k) for k in d.runtime.unique()},
        leaf_over_teacher={k: ratios(p, *pair, k) for k in p.runtime.unique()},
        int8_over_float32=dict(one_query=(ms['ONNX']/ms['ONNX int8']).to_dict(), bulk=(docs['ONNX int8']/docs['ONNX']).to_dict()))
    if leaf: out['int8'] = cost_of_int8(leaf, tmp)
    print(json.dumps({k: v for k,v in out.items() if k not in ('rows','leaf_shapes','machine')}, indent=1))
    if quick: return
    save('latency', out); plot(d)
