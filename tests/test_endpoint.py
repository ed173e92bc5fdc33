"A real server with the real offline teacher behind it: every fault is recovered from, or said clearly; nothing paid for is lost; the key is nowhere"
import os, pickle, random, signal, subprocess, sys, time
from collections import Counter
from email.utils import formatdate
import numpy as np
import pytest
pytest.importorskip('httpx')
pytest.importorskip('tenacity')
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.endpoint import Endpoint, EndpointError
from server import serve

TEXTS = [f'{a} {b} in the {c}' for a in ('a leaf falls','an oak grows','rain is heard') for b in ('slowly','at night','again')
    for c in ('garden','forest, far from any road','north','city')]
KEY = 'sk-test/9f8e7d6c5b4a39281706f5e4d3c2b1a0-QrSt'

@pytest.fixture(scope='session')
def teacher():
    model = offline_teacher('cpu')
    return lambda texts: encode(model, texts)

@pytest.fixture(scope='session')
def local(teacher): return teacher(TEXTS)

def client(url, model=None, **kwargs):
    "An endpoint whose back-off does not take the test's time"
    ep = Endpoint(url, model, **{'bs': 6, 'parallel': 3, **kwargs})
    ep.first_wait = .02
    return ep

def same(a, b): return a.dtype==np.float32 and a.shape==b.shape and np.abs(a-b).max()<1e-5

def fails(ep, say, texts=TEXTS):
    "The error that `ep(texts)` ends in, which must say `say`"
    with pytest.raises(EndpointError) as e: ep(texts)
    assert say in str(e.value), str(e.value)
    assert e.value.__cause__ is None and e.value.__context__ is None # nothing chained that holds headers
    return e.value

@pytest.mark.parametrize('fault', [408, 425, 429, 500, 502, 503, 'drop', 'truncate', 'cut', 'short', 'ragged', 'nan', 'null', 'nothing',
    'zero'], ids=str)
def test_recovers(teacher, local, fault):
    with serve(teacher, [None, fault, None, fault]) as s:
        assert same(client(s.v1)(TEXTS), local)
        assert len(s.got)==len(TEXTS)//6+2 and s.peak<=3

def test_recovers_from_a_timeout(teacher, local):
    with serve(teacher, [None, 'slow'], slow=1.2) as s:
        assert same(client(s.v1, timeout=.6)(TEXTS), local)
        assert [g.fault for g in s.got].count('slow')==1 and len(s.got)==len(TEXTS)//6+1

def test_text_embeddings_inference(teacher, local):
    with serve(teacher, ['drop', 'nan'], info=dict(model_id='minilm', model_sha='abc', max_client_batch_size=4)) as s:
        ep = client(s.embed)
        assert same(ep(TEXTS), local)
        assert ep.identity==dict(kind='endpoint', name='minilm', api='tei', payload=dict(document={}, query={}), revision='abc')
        assert max(len(g.texts) for g in s.got)==4 and all(g.body['truncate'] for g in s.got) and s.asked==['/info']

@pytest.mark.parametrize('form', ['number','date'])
def test_retry_after_holds_back_every_thread(teacher, local, form):
    wait = 1.2 if form=='number' else 2
    headers = lambda _: {'Retry-After': str(wait) if form=='number' else formatdate(time.time()+wait, usegmt=True)}
    with serve(teacher, [None]*2+[dict(status=429, body='later', headers=headers)], delay=.02) as s:
        assert same(client(s.v1, bs=2)(TEXTS), local)
        told = next(g.at for g in s.got if g.fault)+.02
        assert not [g for g in s.got if told+.1<g.at<told+wait-.05] # .1: what was under way when it was told
        assert max(g.at for g in s.got)-told>=wait-.05

class Limit:
    "At most `n` answers in each `window` seconds; whoever comes too early is told to wait for the next"
    def __init__(self, n, window): self.n,self.window,self.end = n,window,0.
    def __call__(self):
        now = time.monotonic()
        if now>=self.end: self.end,self.left = now+self.window, self.n
        self.left -= 1
        return dict(status=429, body='later', headers={'Retry-After': f'{self.end-now:.3f}'}) if self.left<0 else None

def test_waiting_is_no_failure_while_others_get_through():
    "Eight at a time where two in a window are allowed: each is sent away more often than `tries`"
    with serve(lambda ts: [[len(t), 1] for t in ts], Limit(2, .2)) as s:
        assert client(s.v1, 'm', bs=1, parallel=8, tries=3)(TEXTS[:24]).tolist()==[[len(t), 1] for t in TEXTS[:24]]
        assert max(Counter(g.texts[0] for g in s.got).values())>3
    with serve(None, lambda: dict(status=429, body='later', headers={'Retry-After': '0.05'})) as s:
        fails(client(s.v1, 'm', tries=3, parallel=1), '(3 tries)')
        assert len(s.got)==3

def test_a_wait_that_is_too_long_is_an_error_at_once(teacher):
    with serve(teacher, [dict(status=503, body='maintenance', headers={'Retry-After': '3600'})]) as s:
        start = time.monotonic()
        fails(client(s.v1, parallel=1), "'maintenance'. It asks to wait 3,600 s, max_wait is 120 s")
        assert time.monotonic()-start<2 and len(s.got)==1

@pytest.mark.parametrize('fault,say,sent', [
    (500, "500: 'a made up 500'. (4 tries)", 4),
    ('drop', 'disconnected', 4),
    ('truncate', 'no whole JSON', 4),
    ('short', 'saw 5 rows for 6 texts. (3 tries)', 3),
    ('ragged', "row 5 of 6 (text 'a leaf falls at night in the forest, far'): 383 numbers where other rows have 384", 3),
    ('nan', "row 5 of 6 (text 'a leaf falls at night in the forest, far'): null or not finite", 3),
    ('nothing', "far'): null", 3),
    ('zero', "far'): all zero", 3),
    (400, 'Look at payload', 1),
    (403, "give its name: key='MY_API_KEY'", 1),
    (404, '/v1/embeddings; an OpenAI-compatible one usually ends in /v1', 1),
    (413, 'Lower bs, now 6.', 1),
    (dict(status=301, body='', headers={'Location': 'https://elsewhere/v1/embeddings?x=1'}),
        'redirects to: https://elsewhere/v1/embeddings', 1),
    (dict(status=200, body='<html>log in</html>', headers={'Content-Type': 'text/html'}), 'saw a web page', 1),
    (dict(status=200, body={'error': {'message': 'overloaded'}}), 'saw no vectors but {"error"', 3),
], ids=lambda x: str(x)[:20])
def test_says_what_is_wrong(teacher, fault, say, sent):
    with serve(teacher, [fault]*20) as s:
        e = fails(client(s.v1, parallel=1, tries=4), say)
        assert len(s.got)==sent and e.vectors.shape[0]==0 and '0 were answered' in str(e)

def test_a_server_that_is_always_too_slow(teacher):
    with serve(teacher, ['slow']*9, slow=.6) as s:
        fails(client(s.v1, parallel=1, tries=2, timeout=.2), 'ReadTimeout')
        assert len(s.got)==2

def test_another_width_is_an_error_at_once(teacher, local):
    with serve(teacher, [None, 'narrow']) as s:
        e = fails(client(s.v1, parallel=1), 'saw width 8, wanted 384 as in earlier answers')
        assert len(s.got)==2 and same(e.vectors, local[:6])

def test_what_was_answered_comes_with_the_error(teacher, local):
    "The fifth request is refused while others are under way: those are waited for, and no further one is made"
    with serve(teacher, [None]*4+[400], delay=.05) as s:
        e = fails(client(s.v1, bs=2, parallel=4), f'Of {len(TEXTS)} texts')
        n,sent = len(e.vectors), len(s.got)
        assert 6<=n<=10 and n%2==0 and same(e.vectors, local[:n]) and sent<=9
        time.sleep(.15)
        assert len(s.got)==sent and same(pickle.loads(pickle.dumps(e)).vectors, local[:n])
        assert same(np.concatenate([e.vectors, client(s.v1)(TEXTS[n:])]), local)

def test_after_an_error_what_is_under_way_is_waited_for(teacher):
    with serve(teacher, ['slow', 400], slow=.7) as s:
        fails(client(s.v1, bs=2, parallel=2), 'Of 36 texts 2 were answered')
        assert len(s.got)==2

def test_after_an_error_nobody_sits_out_a_wait(teacher):
    with serve(teacher, [dict(status=503, body='later', headers=lambda _: time.sleep(.5) or {'Retry-After': '30'}),
        dict(status=400, body='no', headers=lambda _: time.sleep(1.5))]) as s:
        start = time.monotonic()
        fails(client(s.v1, bs=2, parallel=2), "400: 'no'")
        assert time.monotonic()-start<5

def test_order_is_kept(teacher, local):
    rng,ticks = random.Random(0), []
    with serve(teacher, delay=lambda: rng.random()*.05) as s:
        v = client(s.v1, bs=1, parallel=8)(TEXTS, tick=lambda *n: ticks.append(n))
        assert same(v, local) and 1<s.peak<=8
        assert [g.texts[0] for g in s.got]!=TEXTS or [t for _,t in ticks]!=[len(t) for t in TEXTS] # it was out of order on the way
        assert np.sum(ticks, 0).tolist()==[len(TEXTS), sum(map(len, TEXTS))]

def test_fields_of_a_role_and_the_prompt_reach_the_server(teacher):
    payload = {'query': {'input_type': 'query', 'dimensions': 384}, 'document': {'input_type': 'passage'}}
    with serve(teacher) as s:
        ep = client(s.v1, payload=payload)
        ep(TEXTS[:1], 'query', prompt='find: ')
        ep(TEXTS[:1])
        assert [g.body for g in s.got]==[{'model': 'served', 'input': ['find: '+TEXTS[0]], **payload['query']},
            {'model': 'served', 'input': TEXTS[:1], **payload['document']}]
        assert ep.identity['payload']==payload and '127.0.0.1' not in str(ep.identity)

def test_goes_to_another_process(teacher, local, monkeypatch):
    monkeypatch.setenv('LEAF_TEST_KEY', KEY)
    with serve(teacher) as s:
        ep = client(s.v1, key='LEAF_TEST_KEY')
        ep(TEXTS[:1])
        data = pickle.dumps(ep)
        assert KEY.encode() not in data
        back = pickle.loads(data)
        assert same(back(TEXTS), local) and back.identity==ep.identity and s.asked==['/v1/models']
        assert all(g.headers['Authorization']==f'Bearer {KEY}' for g in s.got)
        monkeypatch.delenv('LEAF_TEST_KEY')
        fails(back, 'LEAF_TEST_KEY is not set')
        assert same(client(s.v1, model='served')(TEXTS[:2]), local[:2]) and 'Authorization' not in s.got[-1].headers

def test_a_key_in_another_header(teacher, monkeypatch):
    monkeypatch.setenv('LEAF_TEST_KEY', KEY)
    with serve(teacher) as s:
        client(s.v1, key='LEAF_TEST_KEY', header='api-key: {}')(TEXTS[:1])
        assert s.got[0].headers['api-key']==KEY and 'Authorization' not in s.got[0].headers

LEAK = '''
import logging, os, pickle, sys, traceback
logging.basicConfig(level='DEBUG', stream=sys.stdout)
from leaf_nb.endpoint import Endpoint
url,key = sys.argv[1], 'LEAF_TEST_KEY'
def attempt(f):
    try: print(f())
    except Exception as e:
        print(''.join(traceback.TracebackException.from_exception(e, capture_locals=True).format()))
        logging.exception('it failed')
        print(repr(e), vars(e), pickle.dumps(e))
ep = Endpoint(url, 'served', key=key, bs=1, tries=2, timeout=2)
ep.first_wait = .01
for _ in range(6): attempt(lambda: ep(['a leaf'])) # as many as the server has faults for, and one that works
try: Endpoint(url, key=os.environ[key])
except ValueError as e: print(e)
print(ep, vars(ep), ep.identity, pickle.dumps(ep), ep.estimate(['a leaf']))
ep(['a leaf']) # uncaught
'''

def test_the_key_is_nowhere(teacher):
    "With everything logged, with locals in the tracebacks, and a server that repeats the key in the body, in a header, in its status line and in half"
    auth = lambda headers: headers['Authorization']
    echo = lambda status,cut=None: dict(status=status, body=lambda h: {'error': {'message': f"no such key {auth(h)[:cut]}, really"}},
        headers=lambda h: {'X-Echo': auth(h)}, reason=auth)
    wrong = dict(status=200, body=lambda h: {'you': auth(h)}, headers=lambda h: {'X-Echo': auth(h)})
    html = dict(status=200, body=auth, headers={'Content-Type': 'text/html'})
    faults = [echo(401), echo(401, 30), echo(500), echo(500), wrong, wrong, html, None, echo(401)]
    with serve(teacher, faults) as s:
        p = subprocess.run([sys.executable, '-c', LEAK, s.v1], env={**os.environ, 'LEAF_TEST_KEY': KEY}, capture_output=True, text=True,
            timeout=100)
        assert len(s.got)==len(faults) and all(g.headers['Authorization']==f'Bearer {KEY}' for g in s.got)
    out = p.stdout+p.stderr
    assert p.returncode==1 and 'receive_response_headers.complete' in out and '[key], really' in out and 'environment variable LEAF_TEST_KEY' in p.stderr, out[-3000:]
    assert 'NAME of an environment variable' in p.stdout
    for part in (KEY, KEY[:12], KEY[-12:], KEY[15:27]): assert part.lower() not in out.lower()

CTRL_C = '''
import sys
from leaf_nb.endpoint import Endpoint
Endpoint(sys.argv[1], 'served', bs=1, parallel=3)([f'text {i}' for i in range(500)])
'''

@pytest.mark.parametrize('faults', [(), lambda: dict(status=503, body='later', headers={'Retry-After': '30'})], ids=['answering','waiting'])
def test_ctrl_c_cancels_the_rest(faults):
    with serve(lambda texts: [[1., 2.]]*len(texts), faults, delay=.3) as s:
        p = subprocess.Popen([sys.executable, '-c', CTRL_C, s.v1], stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) # a job in the background starts with it ignored
        while len(s.got)<3: assert p.poll() is None; time.sleep(.01)
        time.sleep(.4) # all three have their first answer
        sent,start = len(s.got), time.monotonic()
        p.send_signal(signal.SIGINT)
        _,err = p.communicate(timeout=20)
        assert 'KeyboardInterrupt' in err and time.monotonic()-start<5 and len(s.got)<=sent+3

def test_without_the_extra():
    code = "import sys; sys.modules['httpx'] = None\nfrom leaf_nb.endpoint import Endpoint\ntry: Endpoint('http://h/v1')\nexcept ImportError as e: print(e)"
    p = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert 'pip install "leaf_nb[api]"' in p.stdout, p.stderr
