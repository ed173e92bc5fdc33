"`accelerate launch` on two CPU processes gives the run of one"
import json, os, subprocess, sys
import numpy as np

SCRIPT = '''
import sys
from leaf_nb.train import distill
texts = [f'{n} {a} under the {b}' for n in ('one','some','many') for a in 'trees leaves roots bark wood seeds'.split() for b in 'rain sun wind snow soil frost light dew fog'.split()]
distill('offline', texts, 'prune:0,5', sys.argv[1], epochs=6, bs=24, max_length=16, n_solve=100, precision='fp32', progress=False)
'''

def launch(tmp_path, n):
    (tmp_path/'run.py').write_text(SCRIPT); out = tmp_path/f'leaf-{n}'
    cmd = [sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_machines', '1', '--num_processes', str(n),
        '--num_cpu_threads_per_process', '1', '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', '29653',
        str(tmp_path/'run.py'), str(out)]
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=280, env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert p.returncode==0, p.stderr[-3000:]
    return out, json.loads((out/'leaf.json').read_text())

def test_two_processes_equal_one(tmp_path):
    "Losses to 1e-4 of their size, cosines to 1e-4, vectors to 1e-3: the sums are taken in another order"
    from sentence_transformers import SentenceTransformer
    (a,one),(b,two) = launch(tmp_path, 1),launch(tmp_path, 2)
    assert one['steps']==two['steps']
    loss = [np.array([r['loss'] for r in i['history'][1:]]) for i in (one,two)]
    cos = [np.array([r['cosine'] for r in i['history']]) for i in (one,two)]
    assert len(loss[0])==20 and np.abs(loss[1]/loss[0]-1).max()<1e-4, loss
    assert np.abs(cos[1]-cos[0]).max()<1e-4
    x = [SentenceTransformer(str(d), device='cpu').encode(['many leaves', 'a dry summer']) for d in (a,b)]
    assert np.abs(x[0]-x[1]).max()<1e-3
