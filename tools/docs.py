"Render the notebooks to `_docs`: plain pages that need neither quarto nor a script nor a network"
import os, re, shutil, sys
from pathlib import Path

import yaml
from execnb.nbio import mk_cell, read_nb
from fastcore.script import call_parse
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbdev.config import get_config
from nbdev.doclinks import _nbpath2html
from nbdev.serve import proc_nbs
from pygments.formatters import HtmlFormatter

from readme import tidy

class _Math(IPythonRenderer):
    "Equations as MathML, which browsers draw by themselves"
    def block_math(self, body): return convert(body, display='block')
    def inline_math(self, body): return convert(body)
    def latex_environment(self, name, body): return convert(rf'\begin{{{name}}}{body}\end{{{name}}}', display='block')

class _Html(HTMLExporter):
    def default_filters(self):
        yield from super().default_filters()
        yield 'markdown2html', lambda s: MarkdownWithMath(renderer=_Math(escape=False)).render(s)

def _md(cell):
    "The markdown that a `show_doc` cell printed, else nothing"
    if cell.cell_type=='code' and 'output: asis' in cell.source:
        return ''.join(''.join(o.data['text/markdown']) for o in cell.outputs if 'text/markdown' in o.get('data',{}))

def body(f):
    "Title of the processed notebook `f`, and its page"
    nb,fm,cells = read_nb(f),{},[]
    for c in nb.cells:
        if c.cell_type=='raw' and c.source.startswith('---'): fm = yaml.safe_load(c.source.strip().strip('-'))
        elif c.source.startswith('<!-- WARNING'): continue
        else: cells.append(c if (md := _md(c)) is None else mk_cell(md, 'markdown'))
    title = fm.get('title', f.stem)
    nb.cells = [mk_cell(f"# {title}\n\n> {fm.get('description','')}".rstrip('> \n'), 'markdown'), *cells]
    exp = _Html(template_name='basic', exclude_input_prompt=True, exclude_output_prompt=True)
    return title, exp.from_notebook_node(tidy(nb))[0]

class Site:
    "Where everything is on the pages, so that links can be set right and checked"
    def __init__(self,
        cfg, # Settings of the project
        pages, # Page address to the part of it that was rendered
    ):
        self.cfg,self.base,self.bad = cfg,f'{cfg.doc_host}{cfg.doc_baseurl}/',[]
        self.ids = {p: {i.lower():i for i in re.findall(r'\bid="([^"]+)"', h)} for p,h in pages.items()}

    def link(self, page, attr, u):
        "`u`, found on `page`, as it has to be written there"
        up = '../'*page.count('/')
        if u.startswith(self.base): return up + self.inside(page, u.removeprefix(self.base))
        if re.match(r'[a-z]+:|//', u): return u
        path,_,frag = u.partition('#')
        if not path: return '#' + self.inside(page, f'{page}#{frag}').partition('#')[2]
        root = self.cfg.config_path
        f = (self.cfg.nbs_path/Path(page).parent/path).resolve()
        if not f.is_relative_to(self.cfg.nbs_path): return self.outside(page, attr, f.relative_to(root), up)
        rel = f.relative_to(self.cfg.nbs_path)
        if f.suffix=='.ipynb': rel = _nbpath2html(rel)
        return up + self.inside(page, rel.as_posix()+('#'+frag if frag else ''))

    def inside(self, page, u):
        "`u` relative to the folder of the site; a part that has no place of its own is sought in what it belongs to"
        path,_,frag = u.partition('#')
        ids = self.ids.get(path, {})
        if path not in self.ids and not (self.cfg.nbs_path/path).exists(): self.bad.append((page, u))
        if not frag: return path
        found = ids.get(frag.lower()) or ids.get(frag.lower().rpartition('.')[0])
        if not found: self.bad.append((page, u))
        return f'{path}#{found or frag}'

    def outside(self, page, attr, rel, up):
        "A file of the project that is no page: pictures come along, the rest is read in the repository"
        src,dest = self.cfg.config_path/rel, self.cfg.doc_path/rel
        if not src.exists(): self.bad.append((page, str(rel)))
        if attr=='href' or not src.exists(): return f'{self.cfg.git_url}/blob/{self.cfg.branch}/{rel.as_posix()}'
        dest.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(src, dest)
        return up+rel.as_posix()

css = HtmlFormatter().get_style_defs('.highlight') + '''
body { display: flex; gap: 2em; margin: 1em; font: 16px/1.55 sans-serif; color: #222 }
nav { flex: none; width: 13em; position: sticky; top: 1em; align-self: start } nav a { display: block } nav b { display: block; margin-top: 1em }
main { max-width: 50em; min-width: 0 } a { color: #0a58a6; text-decoration: none } a.anchor-link { visibility: hidden } :hover>a.anchor-link { visibility: visible }
pre { padding: .6em; overflow-x: auto; background: #f6f7f8; font-size: 14px; line-height: 1.4 } .jp-OutputArea pre { background: none; border-left: 3px solid #ddd }
table { border-collapse: collapse; font-size: 14px } td, th { border: 1px solid #ddd; padding: .25em .6em; text-align: left; vertical-align: top }
img { max-width: 100% } blockquote { margin-left: 0; padding-left: 1em; border-left: 3px solid #ccc; color: #555 }
@media (max-width: 700px) { body { display: block } nav { position: static } }'''

html = '''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<link rel="stylesheet" href="{up}style.css"></head>
<body><nav>{nav}</nav><main>{body}</main></body></html>
'''

def nav(titles, up):
    "Links to all pages in the order of the notebooks, folder by folder"
    res,folder = [],Path('.')
    for p,t in titles.items():
        if Path(p).parent!=folder: res.append(f'<b>{Path(p).parent}</b>')
        folder = Path(p).parent
        res.append(f'<a href="{up}{p}">{t}</a>')
    return '\n'.join(res)

@call_parse
def main():
    "Process the notebooks, render them, and check every link between them"
    cfg = get_config()
    os.chdir(cfg.config_path)
    proc = proc_nbs(cfg.nbs_path.name, force=True) # relative: nbdev passes over files in a hidden folder, however far up
    files = sorted((f.relative_to(proc) for f in proc.rglob('*.ipynb')), key=lambda f: (len(f.parts), f.stem!='index', f))
    done = {_nbpath2html(f).as_posix(): body(proc/f) for f in files}
    site,titles = Site(cfg, {p:h for p,(_,h) in done.items()}), {p:t for p,(t,_) in done.items()}
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.copytree(proc, cfg.doc_path, ignore=shutil.ignore_patterns('*.ipynb'))
    for p,(t,h) in done.items():
        h = re.sub(r'\b(href|src)="([^"]+)"', lambda m: f'{m[1]}="{site.link(p, m[1], m[2])}"', h)
        up = '../'*p.count('/')
        (cfg.doc_path/p).write_text(html.format(title=t, up=up, nav=nav(titles, up), body=h), encoding='utf-8')
    (cfg.doc_path/'style.css').write_text(css)
    (cfg.doc_path/'.nojekyll').touch() # GitHub Pages then serves the files as they are
    for p,u in site.bad: print(f'{p}: no such place: {u}')
    print(f'{len(done)} pages in {cfg.doc_path}, {len(site.bad)} broken links')
    sys.exit(0 if done and not site.bad else 1)
