"What a cell cannot say: a full disk, several processes, the installed command"
import json, os, subprocess, sys
from pathlib import Path
import pytest

def run(*args, **kw): return subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=250, **kw)

@pytest.fixture
def small_disk(tmp_path):
    "A file system of 1 MiB"
    d = tmp_path/'small'; d.mkdir()
    if run('mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', d).returncode: pytest.skip('mounting a tmpfs needs root')
    yield d
    run('umount', d)

WRITE = '''
import sys, numpy as np, leaf_nb.cache as c
c.check_space = lambda *a: None # the estimate would stop it first: here the disk fills up in the middle
c.embed(lambda ts: np.ones((len(ts), 512)), [f'text {i}' for i in range(2000)], sys.argv[1], shard_rows=100, progress=False)
'''

def test_full_disk_is_foreseen(small_disk):
    import numpy as np
    from leaf_nb.cache import embed
    with pytest.raises(OSError, match=r'No space for .*: wanted [\d,]+ bytes, [\d,]+ are free. Make room'):
        embed(lambda ts: np.ones((len(ts), 512)), [f'text {i}' for i in range(2000)], small_disk/'v', progress=False)
    assert os.listdir(small_disk)==[]

def test_full_disk_keeps_finished_shards_and_continues(small_disk):
    r = run(sys.executable, '-c', WRITE, small_disk/'v')
    assert r.returncode and 'What is finished is kept; make room' in r.stderr
    had = sorted(p.name for p in (small_disk/'v').glob('shard-*')); assert had
    assert not list((small_disk/'v').glob('.*.tmp'))
    run('mount', '-o', 'remount,size=20m', small_disk)
    r = run(sys.executable, '-c', WRITE, small_disk/'v'); assert r.returncode==0, r.stderr
    assert len(list((small_disk/'v').glob('shard-*')))==20 and len(had)<20

def test_two_processes_read_the_same_documentation():
    from leaf_nb.texts import doc_pairs
    a,b = (doc_pairs(['fsspec','pip'], n_workers=n, progress=False) for n in (0,2))
    assert a.equals(b) and len(a)>100

def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path):
    leaf = Path(sys.executable).with_name('leaf')
    (tmp_path/'latin.txt').write_bytes('größer'.encode('latin1'))
    for args,code,say in ((['embed','offline',tmp_path/'latin.txt','--out',tmp_path/'v'], 2, 'wanted UTF-8'),
                          (['distill','offline',tmp_path/'latin.txt'], 2, '--out'),
                          (['evaluate',tmp_path/'none',tmp_path/'none'], 2, 'wanted a BEIR folder')):
        r = run(leaf, *args)
        assert r.returncode==code and say in r.stderr and 'Traceback' not in r.stderr, r.stderr
    assert sorted(os.listdir(tmp_path))==['latin.txt']

def test_plain_sentence_transformers_loads_a_leaf(tmp_path):
    "Without leaf_nb in the process"
    from leaf_nb.teacher import as_teacher
    from leaf_nb.train import distill
    leaf = distill(as_teacher('offline', 16, 'cpu'), [f'text number {i} about leaves' for i in range(80)], 'prune:0,5', tmp_path/'leaf',
        n_solve=80, progress=False)
    code = f"import sys, json; from sentence_transformers import SentenceTransformer as S; v = S({str(tmp_path/'leaf')!r}, device='cpu').encode(['a leaf'])[0]; assert 'leaf_nb' not in sys.modules; print(json.dumps(v.tolist()))"
    r = run(sys.executable, '-c', code); assert r.returncode==0, r.stderr
    assert max(abs(a-b) for a,b in zip(json.loads(r.stdout.splitlines()[-1]), leaf.model.encode(['a leaf'])[0].tolist())) < 1e-6
