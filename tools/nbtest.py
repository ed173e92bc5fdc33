"Test each notebook and each file of tests/ in a process of its own; the last line is `N passed, N failed`"
import os, signal, subprocess, sys, tempfile, time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import nbglob

live = set() # the processes now running, to be stopped with this one

def kill(p):
    "End `p` and all that it started"
    with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGKILL)

def run(cmd, limit, **env):
    "Run `cmd` for at most `limit` seconds: its return code, and what it printed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp, tempfile.TemporaryFile('w+', errors='replace') as out:
        # a file, not a pipe, which a forgotten child would keep open; a place of its own for what notebooks leave behind: gigabytes a run
        p = subprocess.Popen(cmd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, 'TMPDIR': tmp, **env})
        live.add(p)
        note = ''
        try: p.wait(limit)
        except subprocess.TimeoutExpired:
            note = f'\nstopped after {limit}s'
            os.killpg(p.pid, signal.SIGINT) # gently first: the traceback then names the cell
            with suppress(subprocess.TimeoutExpired): p.wait(10)
        kill(p)
        p.wait()
        live.discard(p)
        out.seek(0)
        return -1 if note else p.returncode, out.read()+note

def test_nb(f, flags, limit, **env):
    "`nbdev_test` on notebook `f`: passed, failed, skipped, what it printed"
    rc,out = run([Path(sys.executable).with_name('nbdev_test'), '--path', f, '--flags', flags, '--do_print'], limit, **env)
    ok = rc==0 and '- Completed' in out # without that line a cell ended the process ...
    skip = rc==0 and 'Starting' not in out # ... or the front matter or a `.notest` file hides the notebook
    return int(ok), int(not ok and not skip), int(skip), out

def test_py(f, limit, **env):
    "pytest on `f`: passed, failed, skipped, what it printed"
    with tempfile.TemporaryDirectory() as d:
        xml = Path(d)/'junit.xml'
        rc,out = run([sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', f'--junitxml={xml}', f], limit, **env)
        n = {'tests':0, 'failures':0, 'errors':0, 'skipped':0}
        if xml.exists(): n = {k: int(ET.parse(xml).find('testsuite').get(k)) for k in n}
    failed = n['failures']+n['errors'] or int(rc!=0) # a crash, the time limit and an empty file count as well
    return max(n['tests']-n['failures']-n['errors']-n['skipped'], 0), failed, n['skipped'], out

def find(path, cfg):
    "The notebooks and test files that `path` stands for: all without it"
    if path and Path(path).is_file(): return [Path(path).absolute()]
    tests = [] if path else (cfg.config_path/'tests').glob('test_*.py')
    return [f.absolute() for f in [*sorted(nbglob(path, as_path=True)), *sorted(tests)]]

@call_parse
def main(
    path:str=None, # A notebook, a test file or a folder of notebooks
    flags:str='', # Test flags to run that are normally skipped, e.g. 'slow cuda'
    n_workers:int=2, # Processes at once; they share the cores
    limit:int=300, # Seconds allowed to each
):
    "Test the notebooks, then tests/"
    cfg = get_config()
    files,total = find(path, cfg),[0,0,0]
    env = {'OMP_NUM_THREADS': str(max(1, os.cpu_count()//n_workers)), 'PYTHONUNBUFFERED': '1'}
    def test(f):
        start = time.time()
        res = test_py(f, limit, **env) if f.suffix=='.py' else test_nb(f, flags, limit, **env)
        return *res, time.time()-start
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)) # a runner that gives up must not leave our children
    ex = ThreadPoolExecutor(n_workers)
    try:
        for f,(*n,out,t) in zip(files, ex.map(test, files)):
            total = [a+b for a,b in zip(total, n)]
            print(f"{'FAIL' if n[1] else 'ok  ' if n[0] else 'skip'} {f.relative_to(cfg.config_path)} {t:.1f}s", flush=True)
            for l in out.strip().splitlines():
                if n[1] or l.startswith('SKIPPED'): print(l, flush=True)
    finally:
        ex.shutdown(wait=False, cancel_futures=True)
        for p in list(live): kill(p)
    print(f'{total[0]} passed, {total[1]} failed' + (f', {total[2]} skipped' if total[2] else ''))
    sys.exit(0 if total[0] and not total[1] else 1)
