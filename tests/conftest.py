"What every test may use"
import os
from pathlib import Path

import pytest

os.environ['HF_HUB_OFFLINE'] = '1' # before anything imports huggingface_hub, which reads it once
os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')
root = Path(__file__).resolve().parent.parent

@pytest.fixture(scope='session')
def shared():
    "The folder of real data that is kept outside the project"
    p = (root/os.environ.get('LEAF_SHARED', '../shared')).resolve()
    if not p.is_dir(): pytest.skip(f'no folder {p}: set LEAF_SHARED to the one that holds data/')
    return p
