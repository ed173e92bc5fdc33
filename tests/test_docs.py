"What the site needs of a notebook, and what its check finds"
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip('sphinx')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
from docs import Links, alt, faults, settle

page = '<!doctype html><a href="{}">there</a><h2 id="here">Here</h2><img src="{}" alt="{}"><link rel="stylesheet" href="{}">'

@pytest.mark.parametrize('found, args', [
    ('', ('b.html#here', 'p.png', 'A plot', 's.css')),
    ('no such file: c.html', ('c.html', 'p.png', 'A plot', 's.css')),
    ('no such place: b.html#there', ('b.html#there', 'p.png', 'A plot', 's.css')),
    ('no such file: q.png', ('#here', 'q.png', 'A plot', 's.css')),
    ('no alternative text: p.png', ('#here', 'p.png', ' ', 's.css')),
    ('fetched from elsewhere: https://example.org/s.css', ('https://example.org/a.html', 'p.png', 'A plot', 'https://example.org/s.css')),
    ('1,000,', ('#here', 'big.png', 'A plot', 's.css')),
    ('shown as its markdown', ('#here', 'p.png', 'A plot', 's.css"><p>| a |\n|:---:|</p><pre>| b |\n|---|</pre><i title="')),
    ('shown as its markdown', ('#here', 'p.png', 'A plot', 's.css"><p>[<code>it</code>](it.ipynb)</p><code>[it](it.ipynb)</code><i title="'))])
def test_faults(tmp_path, found, args):
    for nm in ('p.png','s.css'): (tmp_path/nm).touch()
    (tmp_path/'big.png').write_bytes(bytes(1_000_000))
    (tmp_path/'b.html').write_text('<h2 id="here">Here</h2>')
    (tmp_path/'a.html').write_text(page.format(*args))
    bad = list(faults(tmp_path))
    assert len(bad)==bool(found) and all(found in b for b in bad)

def test_alt():
    assert alt("ax.set(xlabel='steps', ylabel='cosine', title='It rises')", 'Before.')=='Figure. It rises: cosine against steps'
    assert alt("#| fig-alt: Two lines that cross\nax.set_title('No')", 'Before.')=='Two lines that cross'
    assert alt('leaf.plot()', 'First. How does [`it`](it.html) go?')=='Figure. How does it go?'

def test_settle():
    assert settle('\rLoading:  0%|  | 0/3 [00:00<?, ?it/s]\rLoading: 100%|##| 3/3 [00:00<00:00, 9.15it/s]\n')==''
    bar = 'ours: 100%|##| 3/3 [00:00<00:00, 9 texts/s]\ndone\n'
    assert settle(f'\rours:  0%|  | 0/3\r{bar}')==bar
    assert settle('<stdin>:3: UserWarning: few texts\n  warnings.warn(s)\n')=='UserWarning: few texts\n'

def test_links():
    cfg = SimpleNamespace(doc_host='https://d.org', doc_baseurl='/p', git_url='https://g.org/p', branch='main',
        nbs_path=Path('/p/nbs'), config_path=Path('/p'))
    link = Links(cfg, {Path('08_train.ipynb'): ['Trainer','trainer','Trainer.step']})
    def to(md): return link(md, Path('01_texts.ipynb'))
    assert to('[`Trainer`](https://d.org/p/train.html#trainer)')=='[`Trainer`](#train.^trainer)'
    assert to('[`trainer`](https://d.org/p/train.html#trainer)')=='[`trainer`](#train.trainer)'
    assert to('[`Trainer.stop`](https://d.org/p/train.html#trainer.stop)')=='[`Trainer.stop`](#train.^trainer)'
    assert to('[`other`](https://d.org/p/train.html#other)')=='[`other`](08_train.ipynb)'
    assert to('[results](../bench/a.json)')=='[results](https://g.org/p/blob/main/bench/a.json)'
    assert to('[next](02_teacher.ipynb)')=='[next](02_teacher.ipynb)'
    assert to('[[`Trainer`](https://d.org/p/train.html#trainer)](08_train.ipynb)')=='[`Trainer`](08_train.ipynb)' # a link in a link
    assert to('[![Open](https://c.org/badge.svg)](https://c.org/nb)')=='[Open](https://c.org/nb)'
    assert to('## [`distill`](https://d.org/p/train.html#other)')=='## `distill`'
