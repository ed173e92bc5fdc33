"Test each notebook and each file of tests/ in a process of its own; the last line is `N passed, N failed`"
import multiprocessing, os, signal, sys, tempfile, time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import nbglob

live = set() # the processes now running, to be stopped with this one
server = multiprocessing.get_context('forkserver')
common = ['nbdev.test','torch','transformers','sentence_transformers','datasets','accelerate','sklearn.linear_model','scipy.stats']

def kill(p):
    "End `p` and all that it started"
    with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGKILL)

def become(out, tmp):
    "Give this process a session, an output and a place for temporary files of its own"
    os.setsid(); none,fd = os.open(os.devnull, os.O_RDONLY),os.open(out, os.O_WRONLY|os.O_APPEND)
    for old,to in ((none, 0), (fd, 1), (fd, 2)): os.dup2(old, to)
    os.environ['TMPDIR'],tempfile.tempdir = tmp,None

def notebook(f, flags, out, tmp):
    "`nbdev_test`, where the imports are done already"
    from nbdev.test import nbdev_test
    become(out, tmp); nbdev_test(path=str(f), flags=flags, do_print=True)

def command(cmd, out, tmp): become(out, tmp); os.execv(cmd[0], cmd)

def run(target, args, limit):
    "Call `target` in a process of its own, for at most `limit` seconds: its return code, and what it printed"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as tmp, tempfile.NamedTemporaryFile('r', errors='replace') as out:
        # a file, not a pipe, which a forgotten child would keep open; a place of its own for what notebooks leave behind: gigabytes a run
        p = server.Process(target=target, args=(*args, out.name, tmp)); p.start()
        live.add(p); p.join(limit); note = ''
        if p.exitcode is None:
            note = f'\nstopped after {limit}s'
            with suppress(ProcessLookupError): os.killpg(p.pid, signal.SIGINT) # gently first: the traceback then names the cell
            p.join(10)
        kill(p); p.join(); live.discard(p)
        return -1 if note else p.exitcode, out.read()+note

def test_nb(f, flags, limit):
    "`nbdev_test` on notebook `f`: passed, failed, skipped, what it printed"
    rc,out = run(notebook, (f, flags), limit)
    ok = rc==0 and '- Completed' in out # without that line a cell ended the process ...
    skip = rc==0 and 'Starting' not in out # ... or the front matter or a `.notest` file hides the notebook
    return int(ok), int(not ok and not skip), int(skip), out

def test_py(f, limit):
    "pytest on `f`: passed, failed, skipped, what it printed"
    with tempfile.TemporaryDirectory() as d:
        xml = Path(d)/'junit.xml'
        rc,out = run(command, ([sys.executable, '-m', 'pytest', '-q', '-rs', '-p', 'no:cacheprovider', f'--junitxml={xml}', str(f)],), limit)
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
    if any(f.suffix!='.py' for f in files): server.set_forkserver_preload(common) # once, and not by every notebook
    os.environ |= {'OMP_NUM_THREADS': str(max(1, os.cpu_count()//n_workers)), 'PYTHONUNBUFFERED': '1'}
    def test(f):
        start = time.time()
        res = test_py(f, limit) if f.suffix=='.py' else test_nb(f, flags, limit)
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
