"Several processes make one store: killed, continued, merged, and the same on Ray"
import signal, subprocess, sys, time
import numpy as np, pytest
from leaf_nb.cache import embed
from leaf_nb.scale import embed_on_ray, merge
from leaf_nb.store import verify
from leaf_nb.teacher import as_teacher

texts = [f'{a} in the {b}, sentence {i}' for i in range(7) for a in 'trees leaves roots bark wood seeds'.split()
    for b in 'rain sun wind snow frost'.split()]
kw = dict(max_length=16, shard_rows=16, progress=False)

PART = '''
import sys, torch
from leaf_nb.cache import embed
torch.set_num_threads(1)
embed('offline', sys.argv[1], sys.argv[2], part=(int(sys.argv[3]), 2), max_length=16, shard_rows=16, progress=False)
'''

def same(a, b):
    "Smallest cosine of a row in one store to that in the other"
    a,b = (x/np.linalg.norm(x, axis=1, keepdims=True) for x in (np.asarray(a, np.float64), np.asarray(b, np.float64)))
    return (a*b).sum(1).min()

@pytest.fixture(scope='module')
def alone(tmp_path_factory): return embed('offline', texts, tmp_path_factory.mktemp('alone')/'v', **kw)

def test_two_processes_one_of_them_killed(tmp_path, alone):
    f,out = tmp_path/'texts.txt',tmp_path/'v'; f.write_text('\n'.join(texts))
    start = lambda i: subprocess.Popen([sys.executable, '-c', PART, str(f), str(out), str(i)], stderr=subprocess.DEVNULL)
    a,b = start(0),start(1); end = time.time()+120
    while not list(out.glob('part-00001-of-00002/shard-*')): assert time.time()<end and b.poll() is None; time.sleep(.002)
    b.send_signal(signal.SIGKILL); b.wait(); assert a.wait()==0
    with pytest.raises(ValueError, match='part-00001-of-00002 is unfinished'): merge(out)
    assert start(1).wait()==0
    v = merge(out)
    assert v.column('text')==texts and same(v, alone)>=.99999 and verify(out, as_teacher('offline', 16))==[]

def test_ray(tmp_path, alone):
    ray = pytest.importorskip('ray', reason='Ray is not installed: pip install "leaf_nb[scale]"')
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False,
        runtime_env=dict(env_vars=dict(HF_HUB_OFFLINE='1', OMP_NUM_THREADS='1')))
    try: v = embed_on_ray('offline', texts, tmp_path/'v', n_parts=3, max_length=16, shard_rows=16)
    finally: ray.shutdown()
    assert v.column('text')==texts and same(v, alone)>=.99999
