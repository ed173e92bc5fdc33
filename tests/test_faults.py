"What can happen to a cache while it is written and afterwards: each fault is noticed, named and mended"
import json, os, signal, sys, time
from collections import Counter
import numpy as np, pytest
import leaf_nb.files
from leaf_nb.cache import embed, repair
from leaf_nb.encoding import offline_teacher
from leaf_nb.files import claim
from leaf_nb.store import Vectors, verify
from leaf_nb.teacher import from_callable, from_model

topics = 'trees leaves roots bark wood seeds'.split()
texts = [f'{a} in the {b}, sentence {i}' for i in range(18) for a in topics for b in 'rain sun wind snow frost'.split()]
SIZE = 12 # rows of a shard

@pytest.fixture(scope='module')
def teacher():
    "The real one, loaded once; what it embeds is counted in the file named by LEAF_LOG"
    t = from_model(offline_teacher('cpu'), 'minilm', 16); ask = t.fn
    def fn(x, *a):
        if log := os.environ.get('LEAF_LOG'):
            with open(log, 'a') as f: f.write(f'{len(x)}\n')
        return ask(x, *a)
    t.fn = fn
    return t

def child(f):
    "Run `f` in a process of its own; its wait status"
    if (pid := os.fork())==0:
        try:
            import torch; torch.set_num_threads(1)
            f(); os._exit(0)
        except BaseException as e: print(repr(e), file=sys.stderr); os._exit(1)
    return os.waitpid(pid, 0)[1]

def die(): os.kill(os.getpid(), signal.SIGKILL)

def bomb(stage, after):
    "From now on this process dies at `stage` of a write, once `after` shards have been renamed"
    done = Counter(); replace,fsync = os.replace,os.fsync
    class Half:
        def __init__(self, f, name): self.f,self.name = f,name
        def __enter__(self): return self
        def __exit__(self, *a): self.f.close()
        def __getattr__(self, k): return getattr(self.f, k)
        def write(self, data):
            if done['shards']>=after and stage==f"write {'manifest' if 'manifest' in self.name else 'shard'}":
                self.f.write(bytes(data)[:len(data)//2]); self.f.flush(); die()
            return self.f.write(data)
    def _open(name, mode='r', *a, **kw):
        f = open(name, mode, *a, **kw)
        return Half(f, str(name)) if 'w' in mode and '.tmp' in str(name) else f
    def _fsync(fd):
        if stage=='fsync' and done['shards']>=after: die()
        return fsync(fd)
    def _replace(a, b):
        what = 'manifest' if 'manifest' in str(b) else 'shard'
        if done['shards']>=after and stage==f'before rename of {what}': die()
        replace(a, b)
        if what=='shard': done['shards'] += 1
        if done['shards']>after and stage==f'after rename of {what}': die()
    leaf_nb.files.open,os.fsync,os.replace = _open,_fsync,_replace

stages = ['write shard','fsync','before rename of shard','after rename of shard','write manifest','before rename of manifest',
    'after rename of manifest']

def files(d): return {f.name: f.read_bytes() for f in sorted(d.iterdir()) if f.is_file() and f.name!='.lock'}

def test_twenty_kills_lose_at_most_a_shard_each(tmp_path, teacher, monkeypatch):
    make = lambda d: embed(teacher, texts, d, shard_rows=SIZE, progress=False)
    calm,cut,log = tmp_path/'calm',tmp_path/'cut',tmp_path/'log'
    assert child(lambda: make(calm))==0
    monkeypatch.setenv('LEAF_LOG', str(log)); log.touch()
    asked = lambda: sum(int(n) for n in log.read_text().split())
    listed = lambda: len(json.loads((cut/'manifest.json').read_text())['shards']) if (cut/'manifest.json').exists() else 0
    for i in range(20):
        had,known = len(list(cut.glob('shard-*'))),listed() # one more file than the manifest knows is made again first
        def run(): bomb(stages[i%len(stages)], 1+had-known); make(cut)
        assert os.WIFSIGNALED(child(run)), 'it was not killed'
        assert len(list(cut.glob('shard-*')))>had # after at least one new shard
        assert listed()>=len(list(cut.glob('shard-*')))-1
    assert child(lambda: make(cut))==0
    assert files(calm)==files(cut)
    assert asked()<=len(texts)+20*SIZE
    assert verify(cut, teacher)==[]

@pytest.mark.parametrize('stage', stages)
def test_a_kill_at_the_very_first_shard(tmp_path, teacher, stage):
    make = lambda d: embed(teacher, texts[:2*SIZE], d, shard_rows=SIZE, progress=False)
    def run(): bomb(stage, 0); make(tmp_path/'cut')
    assert os.WIFSIGNALED(child(run)) and child(lambda: make(tmp_path/'cut'))==0 and child(lambda: make(tmp_path/'calm'))==0
    assert files(tmp_path/'cut')==files(tmp_path/'calm')

def cut(f): f.write_bytes(f.read_bytes()[:-40])
def flip(f): data = bytearray(f.read_bytes()); data[len(data)//2] ^= 1; f.write_bytes(data)
def flip_text(f): data = f.read_bytes(); assert b'trees' in data; f.write_bytes(data.replace(b'trees', b'treez', 1))
def lose(f): f.unlink()

@pytest.mark.parametrize('harm,file,say', [(cut,'shard-00001.arrow','truncated'), (flip,'shard-00002.arrow','checksum'),
    (flip_text,'shard-00000.arrow','checksum'), (lose,'shard-00021.arrow','missing'), (cut,'manifest.json','damaged'),
    (lose,'manifest.json','No ')])
def test_damage_is_noticed_named_and_mended(tmp_path, teacher, harm, file, say):
    d = tmp_path/'v'; make = lambda: embed(teacher, texts, d, shard_rows=SIZE, progress=False); make(); good = files(d)
    harm(d/file)
    if file=='manifest.json' and harm is lose:
        with pytest.raises(FileNotFoundError, match=say): verify(d)
    else: assert [(f.file, say in f.why) for f in verify(d)]==[(file, True)]
    if harm in (cut, lose) or file=='manifest.json':
        with pytest.raises((ValueError, FileNotFoundError), match='epair|embed'): Vectors(d)
    repair(teacher, d, texts, progress=False)
    assert files(d)==good and verify(d, teacher)==[]

def test_a_second_writer_is_told_who_writes_and_a_dead_one_is_forgotten(tmp_path):
    d,r,w = tmp_path/'v',*os.pipe()
    if (pid := os.fork())==0:
        with claim(d): os.write(w, b'x'); time.sleep(60)
    os.read(r, 1)
    with pytest.raises(ValueError, match=f'is being written by process {pid} on'):
        embed(lambda ts: np.ones((len(ts), 3)), texts, d, progress=False)
    os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
    assert len(embed(lambda ts: np.ones((len(ts), 3)), texts, d, progress=False))==len(texts)

def test_another_teacher_prompt_length_or_dtype_is_refused_with_both_named(tmp_path):
    m,d = offline_teacher('cpu'),tmp_path/'v'; embed(m, texts[:20], d, max_length=16, progress=False); before = files(d)
    for kw,say in ((dict(teacher=m, max_length=32), 'max_length: 16, now 32'),
        (dict(teacher=m, max_length=16, prompts={'document': 'p: '}), "document: '', now 'p: '"),
        (dict(teacher=m, max_length=16, dtype='float32'), "'float16', now 'float32'"),
                   (dict(teacher=from_callable(lambda ts: np.ones((len(ts), 384)), 'other')),
                       "name: 'sentence-transformers/all-MiniLM-L6-v2', now 'other'")):
        with pytest.raises(ValueError, match=say): embed(**kw, texts=texts[:20], out=d, progress=False)
    assert files(d)==before
