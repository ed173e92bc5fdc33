"Write README.md from nbs/index.ipynb with the outputs stored there: no cell is run, no page is built"
import posixpath, re, shutil
from collections import defaultdict

from execnb.nbio import nb2str, read_nb
from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.process import extract_directives

_hidden = {'hide', 'export', 'exporti', 'default_exp'}

def alt(src, before=''):
    "What the figure of the code `src` is called: its `fig-alt`, what stands on its axes, or how the text `before` it ends"
    if m := re.search(r'^#\s*\|\s*fig-alt:\s*(.+)', src, re.M): return m[1].strip('"\' ')
    said = defaultdict(dict)
    for k,_,s in re.findall(r'\b(?:set_)?(title|xlabel|ylabel)\s*[=(]\s*(["\'])(.+?)\2', src): said[k][s] = 1
    said = {k: ', '.join(v) for k,v in said.items()}
    axes = ' against '.join(said[k] for k in ('ylabel','xlabel') if k in said)
    if said: return 'Figure. ' + ': '.join(filter(None, [said.get('title'), axes]))
    return 'Figure. ' + re.split(r'(?<=[.?:])\s+(?=[A-Z`*])', re.sub(r'\]\([^)]*\)|[*`\[#]', '', before).strip())[-1]

def tidy(nb):
    "`nb` for nbconvert as a reader should see it: without hidden cells and `#|` lines"
    import nbformat
    nb.cells = [c for c in nb.cells if _show(c)]
    nb.metadata['language_info'] = {'name':'python'} # so that code is coloured
    return nbformat.reads(nb2str(nb), as_version=4)

def _show(c):
    "Apply the directives of cell `c`, and tell whether anything is left to show"
    if c.cell_type!='code': return c.cell_type=='markdown'
    d = {k.rstrip(':'): v for k,v in extract_directives(c, remove=False).items()}
    off = {k for k,v in d.items() if v==['false']}
    if 'echo' in off: c.metadata |= {'transient': {'remove_source': True}, 'tags': ['remove-input']} # nbconvert's own word, myst-nb's
    if 'output' in off: c.outputs = []
    c.metadata['alt'] = alt(c.source)
    c.source = re.sub(r'^\s*#\s*\|.*\n?', '', c.source, flags=re.M).strip()
    return not (_hidden & d.keys() or 'include' in off) and bool(c.source or c.outputs)

def readme(cfg):
    "The text of the README, and its pictures by name"
    from nbconvert import MarkdownExporter
    nb = tidy(read_nb(cfg.nbs_path/cfg.readme_nb)); md,res = MarkdownExporter().from_notebook_node(nb); pics = res['outputs']
    md = re.sub(r'!\[png\](?=\(output_(\d+)_)', lambda m: f"![{nb.cells[int(m[1])].metadata['alt']}]", md)
    def _link(m):
        u = m[1]
        if u in pics: return f'](index_files/{u})'
        if u.endswith('.html'): return f']({cfg.doc_host}{cfg.doc_baseurl}/{u})'
        return f"]({posixpath.normpath(f'{cfg.nbs_path.name}/{u}')})" # notebooks and files stand in the repository as well
    md = re.sub(r'\]\((?![a-z]+:|[#/])([^)\s]+)\)', _link, md)
    md = re.sub(r'<style.*?</style>\n?', '', md, flags=re.S) # comes with pandas' tables; GitHub would show it as text
    md = re.sub(r'\n\s*\n', '\n\n', md).strip()
    return f'<!-- Made from nbs/index.ipynb by tools/readme.py: edit there -->\n\n{md}\n', pics

@call_parse
def main():
    "Write README.md and the pictures it shows"
    cfg = get_config()
    md,pics = readme(cfg)
    files = cfg.config_path/'index_files'
    shutil.rmtree(files, ignore_errors=True)
    for k,v in pics.items():
        files.mkdir(exist_ok=True)
        (files/k).write_bytes(v)
    (cfg.config_path/'README.md').write_text(md, encoding='utf-8')
