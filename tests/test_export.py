"What leaves the house works without it: each artefact in an environment that holds only what its page says"
import inspect, json, os, shutil, subprocess, sys, venv
import numpy as np, pytest
from leaf_nb.encoding import encode, offline_teacher
from leaf_nb.export import asymmetric, for_servers, query_encoder, save_whole, to_onnx
from leaf_nb.graph import JAVASCRIPT, OnnxLeaf, PROBES
from leaf_nb.student import add_head, prune

@pytest.fixture(scope='module')
def leaf():
    "Two layers of the offline teacher with a head that matters"
    m = add_head(prune(offline_teacher('cpu'), [4,5]), 384); rng = np.random.default_rng(0)
    import torch
    with torch.no_grad(): m[2].linear.weight += torch.from_numpy(rng.normal(scale=.05, size=(384,384)).astype(np.float32))
    m.prompts = {'query': 'search: '}; return m

@pytest.fixture(scope='module')
def graph(leaf, tmp_path_factory):
    d = tmp_path_factory.mktemp('g')/'graph'; to_onnx(leaf, d); return d

def run(python, code, *args): # in a fresh process that cannot import leaf_nb
    r = subprocess.run([python, '-c', "import sys; sys.modules['leaf_nb'] = None\n"+code, *map(str, args)], capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': ''})
    assert r.returncode==0, r.stderr[-2000:]
    return r.stdout

def test_onnx_needs_three_packages(leaf, graph, tmp_path):
    "numpy, tokenizers and onnxruntime, and the class that the card shows"
    venv.create(tmp_path/'env', with_pip=True); python = tmp_path/'env'/'bin'/'python'
    subprocess.run([python, '-m', 'pip', 'install', '-qq', '--disable-pip-version-check', 'numpy', 'tokenizers', 'onnxruntime'], check=True)
    code = 'import json, numpy as np\nfrom tokenizers import Tokenizer\n'+inspect.getsource(OnnxLeaf)+'\nnp.save(sys.argv[2], OnnxLeaf(sys.argv[1]).encode(json.loads(sys.argv[3])))'
    run(python, code, graph, tmp_path/'v.npy', json.dumps(PROBES))
    assert np.abs(np.load(tmp_path/'v.npy')-encode(leaf, PROBES)).max()<1e-5

@pytest.mark.parametrize('kind', ['pair','alone','served'])
def test_folders_need_sentence_transformers_alone(leaf, tmp_path, kind):
    out = tmp_path/kind
    dict(pair=lambda: save_whole(asymmetric(leaf, 'offline'), out), alone=lambda: save_whole(query_encoder(leaf), out), served=lambda: for_servers(leaf, out))[kind]()
    run(sys.executable, "import json, numpy as np\nfrom sentence_transformers import SentenceTransformer\nnp.save(sys.argv[2], SentenceTransformer(sys.argv[1], device='cpu').encode(json.loads(sys.argv[3])))",
        out, tmp_path/'v.npy', json.dumps(PROBES))
    assert np.abs(np.load(tmp_path/'v.npy')-encode(leaf, PROBES, 'search: ')).max()<1e-5

def test_nothing_half_written(leaf, tmp_path, monkeypatch):
    "A disk that fills up in the middle leaves neither the folder nor its stage"
    def full(*a, **k): raise OSError(28, 'No space left on device')
    monkeypatch.setattr('leaf_nb.graph._convert', full)
    with pytest.raises(OSError): to_onnx(leaf, tmp_path/'graph')
    assert not list(tmp_path.iterdir())

RUN = """import { env } from '@huggingface/transformers'
import { leaf } from './leaf.js'
env.localModelPath = process.argv[2]; env.allowRemoteModels = false
console.log(JSON.stringify(await (await leaf(process.argv[3]))(JSON.parse(process.argv[4]))))"""

@pytest.mark.skipif(not os.environ.get('LEAF_SLOW') or not shutil.which('npm'), reason='LEAF_SLOW=1 and npm: installs transformers.js')
def test_transformers_js(leaf, graph, tmp_path):
    "The same vectors in JavaScript, to 1e-4"
    (tmp_path/'package.json').write_text('{"type": "module"}'); (tmp_path/'run.js').write_text(RUN); (tmp_path/'leaf.js').write_text(JAVASCRIPT)
    subprocess.run(['npm', 'install', '--no-audit', '--no-fund', '@huggingface/transformers'], cwd=tmp_path, check=True, env={**os.environ, 'ONNXRUNTIME_NODE_INSTALL_CUDA': 'skip'}, capture_output=True)
    texts = [t for t in PROBES if t.strip()]
    r = subprocess.run(['node', 'run.js', graph.parent, graph.name, json.dumps(texts)], cwd=tmp_path, capture_output=True, text=True); assert r.returncode==0, r.stderr[-2000:]
    assert np.abs(np.array(json.loads(r.stdout.strip().splitlines()[-1]))-encode(leaf, texts)).max()<1e-4
