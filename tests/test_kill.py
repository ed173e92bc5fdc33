"Real processes, really killed: the result is that of an undisturbed run"
import json, random, signal, subprocess, sys, time

DISTILL = '''
import sys, torch
from leaf_nb.train import distill
torch.set_num_threads(1)
texts = [f'a sentence about {a} and {b}' for a in 'trees leaves roots bark wood seeds'.split() for b in 'rain sun wind snow soil frost time light dew fog'.split()]*4
distill('offline', {'query': texts[:120], 'document': texts[120:]}, 'prune:0,5', sys.argv[1], weights={'query': .5}, epochs=14, max_length=16, n_solve=100, save_every=0.15, progress=False)
'''

def start(code, out):
    return subprocess.Popen([sys.executable, '-c', code, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def finish(code, out):
    p = start(code, out); _,err = p.communicate(timeout=250)
    assert p.returncode==0, err

def kill_when(p, ready, wait, limit=120):
    "SIGKILL `p` `wait` seconds after `ready()`; False if it ended first"
    end = time.time()+limit
    while p.poll() is None and not ready():
        assert time.time()<end, 'nothing happened'
        time.sleep(.002)
    time.sleep(wait)
    if p.poll() is not None: return False
    p.send_signal(signal.SIGKILL); p.communicate()
    return True

def results(d):
    "What a run's result is, apart from its clock"
    info = json.loads((d/'leaf.json').read_text())
    return [{k: r[k] for k in ('step','loss','lr','cosine','overlap')} for r in info['history']], info['scores'], info['steps']

def test_training_killed_ten_times_gives_the_same_weights(tmp_path):
    from safetensors.torch import load_file
    calm,cut,rng = tmp_path/'calm',tmp_path/'cut',random.Random(0)
    finish(DISTILL, calm); steps = []
    for _ in range(10):
        last = lambda: max((int(d.name.split('-')[1]) for d in cut.glob('checkpoint-*') if not d.name.endswith('.new')), default=-1)
        had = last(); assert kill_when(start(DISTILL, cut), lambda: last()>had, rng.uniform(0, .3)), f'it ended after {steps}'
        steps.append(last())
    assert steps==sorted(set(steps)), steps # each life took it further
    finish(DISTILL, cut)
    for f in calm.rglob('*.safetensors'):
        a,b = load_file(f),load_file(cut/f.relative_to(calm))
        assert a.keys()==b.keys() and all((a[k]==b[k]).all() for k in a), f.name
    assert results(calm)==results(cut)
