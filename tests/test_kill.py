"Real processes, really killed: the result is that of an undisturbed run"
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

DISTILL = '''
import sys, torch
from leaf_nb.student import prune
from leaf_nb.teacher import as_teacher, offline_teacher
from leaf_nb.train import distill
torch.set_num_threads(1)
texts = [f'a sentence about {a} and {b}' for a in 'trees leaves roots bark wood seeds'.split() for b in 'rain sun wind snow soil frost time light dew fog'.split()]*4
distill('offline', texts, 'prune:0,5', sys.argv[1], epochs=4, max_length=16, n_solve=100, save_every=0.2, progress=False)
'''

def start(code, out): return subprocess.Popen([sys.executable, '-c', code, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

def finish(code, out):
    p = start(code, out); _,err = p.communicate(timeout=250)
    assert p.returncode==0, err

def kill_when(p, ready, limit=120):
    "SIGKILL `p` as soon as `ready()`; False if it ended first"
    end = time.time()+limit
    while p.poll() is None and not ready():
        assert time.time()<end, 'nothing happened'
        time.sleep(.002)
    if p.poll() is not None: return False
    p.send_signal(signal.SIGKILL); p.communicate()
    return True

def test_training_killed_twice_gives_the_same_weights(tmp_path):
    from safetensors.torch import load_file
    calm,cut = tmp_path/'calm',tmp_path/'cut'
    finish(DISTILL, calm); killed = 0
    for k in range(2):
        had = (cut/'checkpoint').stat().st_mtime_ns if (cut/'checkpoint').exists() else 0
        killed += kill_when(start(DISTILL, cut), lambda: (cut/'checkpoint').exists() and (cut/'checkpoint').stat().st_mtime_ns>had)
    assert killed
    finish(DISTILL, cut)
    for f in calm.rglob('*.safetensors'):
        a,b = load_file(f),load_file(cut/f.relative_to(calm))
        assert a.keys()==b.keys() and all((a[k]==b[k]).all() for k in a), f.name
    h = [[{k: v for k,v in r.items() if k!='seconds'} for r in json.loads((d/'leaf.json').read_text())['history']] for d in (calm,cut)]
    assert h[0]==h[1]
