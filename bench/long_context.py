"""A student with rotary positions, trained on short texts and asked about long ones: what raising theta buys.

`python bench/long_context.py`; `--quick` tries the script. `LEAF_SHARED` names the folder that holds `data/`.
Two layers of EuroBERT's kind over the offline teacher's vocabulary learn its vectors from texts of at most 64 tokens. Then each of many questions looks for its document among documents of 64, 128 and 256 tokens, in which what answers is planted anywhere. Both sides are the
student's. It reads the whole with theta as trained, with theta raised by s^(d/(d-2)) for s times the length (d: width of a head), or only the first 64 tokens; beside it the teacher, and chance."""
import tempfile, time
from pathlib import Path
import matplotlib.pyplot as plt, numpy as np, pandas as pd, torch
from fastcore.script import call_parse
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import EuroBertConfig, EuroBertModel
from common import HERE, machine, save, shared_texts
from leaf_nb.adapters import set_theta, theta_of
from leaf_nb.encoding import encode
from leaf_nb.long_texts import long_documents
from leaf_nb.metrics import ndcg, normalize, paired_bootstrap, search
from leaf_nb.teacher import as_teacher
from leaf_nb.texts import doc_corpus
from leaf_nb.train import distill

SHORT,THETA = 64,10_000.

def rope_student(teacher, seed=0, layers=2, heads=6):
    "Bidirectional, rotary, mean-pooled; its word embeddings start as the teacher's"
    torch.manual_seed(seed); d,t = tempfile.mkdtemp(),teacher.model[0].auto_model.embeddings.word_embeddings.weight; w = t.shape[1]
    m = EuroBertModel(EuroBertConfig(vocab_size=len(t), hidden_size=w, intermediate_size=4*w, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=2048,
        pad_token_id=0, bos_token_id=101, eos_token_id=102, mask_token_id=103, rope_parameters=dict(rope_type='default', rope_theta=THETA)))
    with torch.no_grad(): m.get_input_embeddings().weight.copy_(t)
    m.save_pretrained(d)
    teacher.model.tokenizer.save_pretrained(d)
    s = SentenceTransformer(modules=[Transformer(d), Pooling(w)], device='cpu')
    s.max_seq_length = 512
    return s

def found(model, table, length):
    "nDCG@10 of each query, reading the first `length` tokens of the documents"
    q,d = (normalize(encode(model, table[c].tolist(), max_length=n)) for c,n in (('query', 64), ('document', length)))
    return ndcg(search(q, d, 10)[1], [{i: 1} for i in range(len(q))], 10)

def plot(rows, path):
    d = pd.DataFrame(rows); fig,ax = plt.subplots(figsize=(6,3.2))
    for k,g in d.groupby('reads', sort=False):
        g = g.groupby('tokens')['ndcg'].mean(); ax.plot(g.index, g, marker='o', ms=4, label=k, ls=':' if k in ('chance','teacher') else '-')
    ax.set(xscale='log', xlabel='tokens a document; trained on 64', ylabel='nDCG@10')
    ax.set_xticks(sorted(d.tokens.unique()), sorted(d.tokens.unique()))
    ax.minorticks_off()
    ax.grid(alpha=.3)
    ax.legend(fontsize=8)
    fig.tight_layout(); fig.savefig(path, dpi=110)

@call_parse
def main(
    n:int=30_000, # Texts learned from
    epochs:float=1., # Passes over them
    n_facts:int=1000, # Questions, each with a document
    seeds:int=3, # Runs
    quick:bool=False, # A twentieth, one seed: only to see that the script works; nothing is saved
):
    "Prints the table; writes bench/results/long_context.json and .png unless `quick`"
    if quick: n,n_facts,seeds,epochs = n//20,100,1,1.
    teacher = as_teacher('offline', SHORT, 'cpu')
    texts = {'query': shared_texts('queries', n//2), 'document': shared_texts('passages', n//2)}
    start = time.perf_counter()
    _,pairs = doc_corpus(n_documents=n_facts, n_queries=n_facts, progress=False)
    pairs = pairs[pairs.asked].assign(document=lambda d: d.text.str.split().str[:30].str.join(' '))[['query','document']]
    filler = shared_texts('passages', n//2+3000)[n//2:]
    tables = {k*SHORT: long_documents(pairs, filler, int(k*SHORT*.72)) for k in (1,2,4)}
    rows,scores,cache = [],{},Path(tempfile.mkdtemp())
    dim = 384//6; chance = float(sum(1/np.log2(r+2) for r in range(10))/len(pairs))
    for L,t in tables.items():
        rows.append(dict(tokens=L, reads='teacher', ndcg=float(found(teacher.model, t, L).mean())))
        rows.append(dict(tokens=L, reads='chance', ndcg=chance))
    for seed in range(seeds):
        leaf = distill(teacher, texts, rope_student(teacher, seed), cache/f'leaf-{seed}', cache=cache/'vectors', epochs=epochs, lr=1e-3,
            max_length=SHORT, seed=seed, bs=64, progress=False)
        m = leaf.model
        print(f'{time.perf_counter()-start:.0f} s, seed {seed}, cosine {leaf.history.cosine.iloc[-1]:.4f}', flush=True)
        for L,t in tables.items():
            for name,theta,length in (('all, theta as trained', THETA, L), ('all, theta raised', THETA*(L/SHORT)**(dim/(dim-2)), L),
                ('the first 64 tokens', THETA, SHORT)):
                assert theta_of(set_theta(m, theta))==theta
                s = found(m, t, length)
                scores.setdefault((L,name), []).append(s)
                rows.append(dict(tokens=L, reads=name, ndcg=float(s.mean()), seed=seed))
    diff = {f'{L} tokens, {a} less {b}': {k: getattr(i, k) for k in ('value','low','high')} for L in tables if L>SHORT for a,
        b in (('all, theta raised','all, theta as trained'), ('all, theta raised','the first 64 tokens'))
        for i in [paired_bootstrap(np.mean(scores[L,a], 0), np.mean(scores[L,b], 0), stat='difference')]}
    print(pd.DataFrame(rows).groupby(['tokens','reads'], sort=False)['ndcg'].mean().unstack().round(4).to_string(),
        pd.DataFrame(diff).T.round(4).to_string(), sep='\n')
    if quick: return
    save('long_context', dict(command='python bench/long_context.py', machine=machine(), settings=dict(texts=n, epochs=epochs,
        facts=len(pairs), seeds=seeds, theta=THETA, trained_on=SHORT), rows=rows, differences=diff, seconds=time.perf_counter()-start))
    plot(rows, HERE/'results'/'long_context.png')
