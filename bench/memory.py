"""Memory of training from a store of two million vectors of 768 numbers, against the same training from five thousand: what the size of the corpus costs. `python bench/memory.py`; `--quick` tries the script"""
import json, subprocess, sys, tempfile
from fastcore.script import call_parse
from common import HERE, machine, save

RUN = '''
import json, sys, time
sys.path.insert(0, sys.argv[3])
import numpy as np
from datasets import load_dataset
from common import memory, rss_anon
from leaf_nb.cache import embed
from leaf_nb.encoding import offline_teacher
from leaf_nb.student import prune
from leaf_nb.teacher import as_teacher
from leaf_nb.train import distill
folder,n = sys.argv[1],int(sys.argv[2])
table = np.random.default_rng(0).normal(size=(997, 768)).astype(np.float16); words = np.array('the a leaf root bark of under over and wood wind rain sun snow soil light dew frost fog time'.split())
def fake(texts): return sum(table[[hash(w)%997 for w in col]] for col in zip(*(t.split() for t in texts)))
with open(folder+'/texts.txt', 'w') as f:
    for i in range(n): f.write(f'{words[i%20]} {words[i//20%20]} {words[i//400%20]} {words[i//8000%20]} {i}\\n')
ds = load_dataset('text', data_files=folder+'/texts.txt', split='train', cache_dir=folder+'/cache')
teacher = as_teacher(fake); student = prune(offline_teacher('cpu'), [4,5])
start = time.perf_counter(); v = embed(teacher, ds, folder+'/v', progress=False); embedded = time.perf_counter()-start
own = rss_anon(); start = time.perf_counter()
with memory() as m: leaf = distill(teacher, ds, student, folder+'/leaf', cache=folder+'/v', epochs=min(1, 200*32/n), max_length=16, n_solve=2000, progress=False)
print(json.dumps(dict(texts=n, dim=v.shape[1], store_gb=v.nbytes/1e9, before_mb=own, grown_mb=m['mb'], steps=leaf.info['steps'], embed_seconds=embedded, distill_seconds=time.perf_counter()-start)))
'''

@call_parse
def main(
    n:int=2_000_000, # Texts of the large store
    quick:bool=False, # 50,000: only to see that the script works; nothing is saved
):
    "Prints the figures; writes bench/results/memory.json unless `quick`"
    rows = []
    for k in (5000, 50_000 if quick else n):
        with tempfile.TemporaryDirectory() as d:
            p = subprocess.run([sys.executable, '-c', RUN, d, str(k), str(HERE)], capture_output=True, text=True)
        if p.returncode: raise SystemExit(p.stderr[-3000:])
        rows.append(json.loads(p.stdout.splitlines()[-1])); print(rows[-1], flush=True)
    res = dict(command='python bench/memory.py', machine=machine(), runs=rows,
        grown_with_texts_mb=round(rows[1]['grown_mb']-rows[0]['grown_mb'], 1))
    print(f"{res['grown_with_texts_mb']} MB more for {rows[1]['texts']:,} texts than for {rows[0]['texts']:,}")
    if not quick: save('memory', res)
