"From a teacher behind HTTP to a store and to a leaf: the same as from the teacher here, nothing paid for is lost, the key is nowhere"
import json, os, subprocess, sys
import numpy as np, pytest
pytest.importorskip('httpx')
from leaf_nb.cache import embed
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.endpoint import Endpoint, EndpointError
from leaf_nb.store import Vectors, verify
from leaf_nb.student import prune
from leaf_nb.train import distill
from server import serve

texts = [f'{a} in the {b}, sentence {i}' for i in range(4) for a in 'trees leaves roots bark wood seeds'.split()
    for b in 'rain sun wind snow frost'.split()]
KEY = 'sk-test/9f8e7d6c5b4a39281706f5e4d3c2b1a0-QrSt'

@pytest.fixture(scope='module')
def minilm(): return offline_teacher('cpu')

def client(s, **kw):
    ep = Endpoint(s.v1, **{'bs': 8, 'parallel': 2, **kw}); ep.first_wait = .02
    return ep

def test_the_leaf_of_an_endpoint_is_the_leaf_of_the_teacher(tmp_path, minilm):
    student = lambda: prune(offline_teacher('cpu'), [0,5])
    kw = dict(epochs=3, max_length=16, n_solve=100, device='cpu', progress=False)
    with serve(lambda ts: encode(minilm, ts, max_length=16)) as s: far = distill(client(s), texts, student(), tmp_path/'far', **kw)
    near = distill('offline', texts, student(), tmp_path/'near', **kw)
    a,b = (x.model.encode(texts, normalize_embeddings=True) for x in (far, near))
    assert (a*b).sum(1).mean()>=.999
    assert far.info['history'][-1]['cosine']>.9

def test_what_was_answered_before_an_error_is_kept(tmp_path, minilm, monkeypatch, capfd):
    monkeypatch.setenv('TEST_KEY', KEY); fn = lambda ts: encode(minilm, ts)
    echo = dict(status=401, body=lambda h: f"wrong key {h['Authorization']}")
    with serve(fn, [None]*9+[echo]) as s:
        with pytest.raises(EndpointError) as e:
            embed(client(s, key='TEST_KEY', parallel=1), texts, tmp_path/'v', shard_rows=40, progress=True)
    assert len(Vectors(tmp_path/'v'))==9*8 and [x['rows'] for x in Vectors(tmp_path/'v').manifest['shards']]==[40,32]
    with serve(fn) as s: v = embed(client(s, key='TEST_KEY'), texts, tmp_path/'v', shard_rows=40); asked = sum(len(g.texts) for g in s.got)
    assert asked==len(texts)-72+1 and np.abs(np.asarray(v, np.float32)-fn(texts)).max()<1e-3
    assert verify(tmp_path/'v')==[]
    out = ''.join(capfd.readouterr())+repr(e.value)+''.join(f.read_bytes().decode('latin1') for f in tmp_path.rglob('*') if f.is_file())
    assert KEY not in out and KEY[3:20] not in out and 'tokens in' in out # the estimate was printed

def test_the_command_takes_a_url(tmp_path, minilm):
    (tmp_path/'t.txt').write_text('\n'.join(texts))
    with serve(lambda ts: encode(minilm, ts)) as s:
        r = subprocess.run([sys.executable, '-m', 'leaf_nb.cli', 'embed', s.v1, tmp_path/'t.txt', '--out', tmp_path/'v', '--key',
            'TEST_KEY', '--json', tmp_path/'r.json'], capture_output=True, text=True, env=os.environ | {'TEST_KEY': KEY})
        assert r.returncode==0 and KEY not in r.stdout+r.stderr, r.stderr
        bad = subprocess.run([sys.executable, '-m', 'leaf_nb.cli', 'embed', s.v1, tmp_path/'t.txt', '--out', tmp_path/'w', '--key', KEY],
            capture_output=True, text=True)
    assert json.loads((tmp_path/'r.json').read_text())['rows']==len(texts) and Vectors(tmp_path/'v').manifest['teacher']['name']=='served'
    assert bad.returncode==2 and KEY not in bad.stderr and 'Traceback' not in bad.stderr and not (tmp_path/'w').exists()
