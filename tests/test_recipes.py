"Recipes by the real command, tiny and offline: every stage's files, a kill in the middle, two processes. `LEAF_SLOW=1` runs all six"
import json, os, signal, subprocess, sys, time
from pathlib import Path
import pytest

LEAF = Path(sys.executable).with_name('leaf'); ONE = dict(OMP_NUM_THREADS='1')
slow = pytest.mark.skipif(os.environ.get('LEAF_SLOW')!='1', reason='LEAF_SLOW=1 runs it: the same stages as leaf-ir or jina-v5-small')
STAGES = dict(leaf=['texts','embed','distill','evaluate','card'], jina=['texts','embed','distill','adapters','evaluate','card'],
    long=['texts','embed','distill','long','adapters','evaluate','card'])

def cmd(name, out, *more): return [str(x) for x in (LEAF, 'run', name, '--scale', 'tiny', '--out', out, *more)]

def finish(*args, code=0):
    "Run a command to its end; what it said"
    p = subprocess.run(args, capture_output=True, text=True, timeout=250, env=os.environ|ONE)
    assert p.returncode==code, p.stdout+p.stderr[-3000:]
    return p.stdout if not code else p.stderr

def kill_at(path, args):
    "Start a command, and kill it as soon as `path` is there"
    p = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ|ONE); end = time.time()+120
    while not path.exists():
        assert p.poll() is None and time.time()<end, f'no {path}'
        time.sleep(.01)
    p.send_signal(signal.SIGKILL); p.communicate()
    assert p.returncode==-signal.SIGKILL

def state(out): return json.loads((out/'recipe.json').read_text())

def check(out, kind):
    "All that a finished run holds"
    s = state(out); assert s['finished']==STAGES[kind] and set(s['seconds'])==set(s['finished'])
    final = out/('leaf' if kind=='leaf' else 'model')
    for f in ('modules.json','leaf.json','results.json','README.md'): assert (final/f).exists(), f
    assert sorted(p.stem for p in (out/'texts').glob('*'))==sorted(_names(s['recipe'])) and (out/'vectors'/'manifest.json').exists()
    assert (out/'asymmetric'/'modules.json').exists()==(kind=='leaf') and (out/'long').exists()==(kind=='long')
    assert sorted(p.name for p in final.glob('adapters/*'))==sorted(s['recipe']['adapters'])
    rows = json.loads((final/'results.json').read_text()); assert all(r['teacher']>0 and r['standard']>=0 for r in rows)

def _names(r):
    yield from r['texts']
    for t,a in ((dict(long=r['long']) if r['long'] else {}) | r['adapters']).items(): yield from (f'{t}.{k}' for k in a['data'])

@pytest.mark.parametrize('name,kind,cut', [('leaf-ir','leaf','leaf/leaf.json'), ('jina-v5-small','long','model/adapters/retrieval/adapter.json'),
    *(pytest.param(*p, marks=slow) for p in (('leaf-mt','leaf','vectors/manifest.json'), ('jina-v5-nano','jina','leaf/modules.json'),
        ('static','leaf','texts/fineweb.arrow'), ('my-domain','leaf','texts/queries.arrow')))])
def test_killed_and_finished(name, kind, cut, tmp_path):
    out = tmp_path/'run'; kill_at(out/cut, cmd(name, out)); had = state(out)['finished']; assert had!=STAGES[kind]
    kept = {p: p.stat().st_mtime for p in [out/cut, *(out/'texts').glob('*.arrow')] if p.name not in ('leaf.json','manifest.json')} # these two grow
    said = finish(*cmd(name, out, '--resume')); assert 'teacher' in said; check(out, kind)
    assert {p: p.stat().st_mtime for p in kept if 'model' not in str(p)}=={p: t for p,t in kept.items() if 'model' not in str(p)}
    if kind!='leaf': return
    assert finish(*cmd(name, out, '--json', tmp_path/'r.json')) and json.loads((tmp_path/'r.json').read_text())['finished']==STAGES[kind]
    assert 'another version' in finish(*cmd(name, out, '--set', 'distill.seed=1'), code=2)

def test_two_processes_equal_one(tmp_path):
    "The launcher's command as it is documented; sums are taken in another order"
    more = ('--set', 'distill.precision=fp32', '--set', 'distill.seed=2'); one,two = tmp_path/'one',tmp_path/'two'; finish(*cmd('leaf-ir', one, *more))
    said = finish(sys.executable, '-m', 'accelerate.commands.launch', '--cpu', '--num_machines', '1', '--num_processes', '2', '--num_cpu_threads_per_process', '1',
        '--mixed_precision', 'no', '--dynamo_backend', 'no', '--main_process_port', '29657', '-m', 'leaf_nb.cli', *cmd('leaf-ir', two, *more)[1:])
    assert said.count('results.json')<=1; check(two, 'leaf'); assert not list((two/'vectors').glob('part-*'))
    a,b = (json.loads((d/'leaf'/'leaf.json').read_text()) for d in (one,two)); assert a['steps']==b['steps']
    for x,y in zip(a['history'], b['history']): assert abs(x['cosine']-y['cosine'])<1e-3, (x,y)
