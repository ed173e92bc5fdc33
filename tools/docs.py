"Render the notebooks to `_docs` with Sphinx, then check what came out; nothing is fetched, and no cell is run"
import ast, os, re, shutil, sys
from html.parser import HTMLParser
from importlib import import_module
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from execnb.nbio import mk_cell, read_nb
from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import _nbpath2html, nbglob
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, _default_exp, _show_docs, exec_show_docs
from nbdev.showdoc import show_doc
from sphinx.cmd.build import build_main

from readme import alt, tidy

max_bytes = 1_000_000 # of a page with its pictures
tutorials = ('first_leaf','search_your_documents','api_teacher','choose_size','task_adapters','leaf_ir') # in the order to be read

def label(exp, name):
    "The place of `name` of the module `exp`. Sphinx does not tell capitals apart, so they are marked"
    return exp + '.' + re.sub('[A-Z]', lambda m: '^'+m[0].lower(), name)

class _ApiDocs(Processor):
    "`show_doc` cells as markdown. nbdev runs the imports and the exported cells of a notebook first; to import its module is enough"
    def begin(self):
        self.exp,self.nb.shown_ = _default_exp(self.nb),[]
        if self.exp: self.module = import_module(f'{get_config().lib_name}.{self.exp}')

    def _doc(self, call):
        name = ast.unparse(call.value.args[0])
        kw = dict(dict(name=name), **{k.arg: ast.literal_eval(k.value) for k in call.value.keywords})
        self.nb.shown_.append(name)
        return f'({label(self.exp, name)})=\n{show_doc(attrgetter(name)(self.module), **kw).data}'

    def __call__(self, cell):
        if cell.cell_type!='code' or not (calls := _show_docs(cell.parsed_() or [])): return
        md = '\n\n'.join(map(self._doc, calls))
        cell.clear()
        cell.update(mk_cell(md, 'markdown', api_=True))

class _Filters(FilterDefaults):
    def base_procs(self): return [_ApiDocs if p is exec_show_docs else p for p in super().base_procs()]

def settle(s):
    "`s` as a terminal leaves it, without the progress bars of other libraries, which name no unit of their own, and the code that warned"
    s = re.sub(r'^\S+:\d+: (\w*Warning: .*)\n  .*$', r'\1', s, flags=re.M)
    lines = [l.rpartition('\r')[2] for l in s.replace('\r\n', '\n').split('\n')]
    return '\n'.join(l for l in lines if not re.search(r'[\d?](it|s/it| examples)(/s)?\]$', l.rstrip()))

def process(f):
    "The notebook `f` as its page shows it (directives obeyed, API tables made, names linked), and the names documented there"
    p = _Filters().nb_proc(read_nb(f))
    p.process()
    fm,before = p.nb.frontmatter_,''
    for c in p.nb.cells:
        if c.cell_type=='markdown': before = before if c.get('api_') else c.source
        elif c.cell_type=='code': c.metadata['mystnb'] = {'image': {'alt': alt(c.source, before)}}
        for o in c.get('outputs', []):
            if o.output_type=='stream': o.text = settle(''.join(o.text))
            if h := o.get('data', {}).get('text/html'): o.data['text/html'] = re.sub(r'<style.*?</style>\n?', '', ''.join(h), flags=re.S)
        if 'outputs' in c: c.outputs = [o for o in c.outputs if o.get('text')!='']
    head = f"# {fm.get('title', f.stem)}\n\n> {fm.get('description','')}".rstrip('> \n')
    p.nb.cells = [mk_cell(head, 'markdown'), *(c for c in p.nb.cells if not c.source.startswith('<!-- WARNING'))]
    return tidy(p.nb),p.nb.shown_

class Links:
    "Where a link of a notebook leads on the site"
    def __init__(self, cfg, shown): # `shown`: path in the folder of notebooks -> the names documented there
        self.cfg,self.base = cfg,f'{cfg.doc_host}{cfg.doc_baseurl}/'
        self.pages = {_nbpath2html(f).with_suffix('').as_posix(): (f, names) for f,names in shown.items()}

    def api(self, text, path, frag, page):
        "The place on the site for nbdev's address of the name `text`; a method that is not shown is found at its class"
        if path not in self.pages: return f'{self.base}{path}.html'
        f,names = self.pages[path]
        for want in (frag, frag.partition('.')[0]):
            found = [n for n in names if n.lower()==want]
            if found: return '#' + label(Path(path).name, text if text in found else found[0])
        return os.path.relpath(f, page.parent)

    def file(self, u, page):
        "A file of the project that is no page is read in the repository"
        f = (self.cfg.nbs_path/page.parent/u).resolve()
        if f.is_relative_to(self.cfg.nbs_path) or not f.is_relative_to(self.cfg.config_path): return u
        return f'{self.cfg.git_url}/blob/{self.cfg.branch}/{f.relative_to(self.cfg.config_path).as_posix()}'

    def __call__(self, md, page):
        md = re.sub(r'!\[([^\]]*)\]\(https?:[^)]*\)', r'\1', md) # a badge is fetched from elsewhere: its words will do
        md = re.sub(r'\[\[(`[^`]+`)\]\([^)]*\)\](?=\()', r'[\1]', md) # nbdev makes a link of a name that stands in a link already
        name = rf'\[`([^`]+)`\]\({re.escape(self.base)}([\w/]+)\.html#?([\w.]*)\)'
        md = re.sub(name, lambda m: f'[`{m[1]}`]({self.api(*m.groups(), page)})', md)
        md = re.sub(r'^#+ .*', lambda m: re.sub(r'\[(`[^`]+`)\]\([^)]*\)', r'\1', m[0]), md, flags=re.M) # a heading is no link
        return re.sub(r'(?<=\]\()\.\./[^)\s]+', lambda m: self.file(m[0], page), md)

def toctree(pages, *options):
    "A cell that puts `pages` into the sidebar"
    lines = ['```{toctree}', ':hidden:', *options, '', *(p.with_suffix('').as_posix() for p in pages), '```']
    return nbformat.v4.new_markdown_cell('\n'.join(lines))

def place(f):
    "Where `f` stands in the sidebar: folders first, in them what is known as a tutorial in its order; the road by number"
    return -len(f.parts), tutorials.index(f.stem) if f.stem in tutorials else len(tutorials), f

def road(nbs):
    "Tables of contents, in the order of `nbs`; 01a to 01c stand below 01, and what 02, 03, 09, 11, 12 and 14 are made of below these"
    made_of = {'01d_encoding': '02', '02a_files': '03', '02b_store': '03', '02c_stream': '03', '08c_sides': '09', '10b_task_data': '11',
        '10c_base': '11', '10d_adapter_loop': '11', '11c_graph': '12', '13d_demo': '14', '13e_shell': '14'}
    for folder,fs in groupby((f for f in nbs if f.stem!='index'), key=lambda f: f.parent):
        stations = [sorted(g, key=lambda f: bool(re.match(r'\d+[a-z]', f.name))) for _,g in groupby(fs, # the one without a letter first
            key=lambda f: made_of.get(f.stem) or re.match(r'\d*', f.name)[0] or f.name)]
        nbs[Path('index.ipynb')].cells.append(toctree([g[0] for g in stations], f":caption: {folder.name.capitalize() or 'The library'}"))
        for head,*rest in stations:
            if rest: nbs[head].cells.append(toctree([f.relative_to(folder) for f in rest]))

class _Page(HTMLParser):
    "The places on a page, and what it refers to"
    def __init__(self, f):
        super().__init__()
        self.ids,self.refs,self.mute,self.code,self.raw = set(),[],[],0,0
        self.feed(f.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.ids |= {d.get('id'), d.get('name')}
        self.refs += [(tag, d[k]) for k in ('href','src') if d.get(k)]
        if tag=='img' and not (d.get('alt') or '').strip(): self.mute.append(d.get('src'))
        self.code += tag in ('pre','code')

    def handle_endtag(self, tag): self.code -= tag in ('pre','code')

    def handle_data(self, s): self.raw += not self.code and bool(re.search(r'\|\s*:?-{3,}:?\s*\||\]\([\w./#:-]+\)', s))

def faults(dest):
    "What is wrong with the site in `dest`, a line each"
    pages = {f.resolve(): _Page(f) for f in sorted(dest.rglob('*.html'))}
    for f,p in pages.items():
        name,size = f.relative_to(dest.resolve()),f.stat().st_size
        for src in p.mute: yield f'{name}: no alternative text: {src}'
        if p.raw: yield f'{name}: a table or a link is shown as its markdown'
        for tag,u in set(p.refs):
            path,frag = unquote(urlsplit(u).path),unquote(urlsplit(u).fragment)
            to = (f.parent/path).resolve() if path else f
            if re.match(r'[a-z]+:|//', u):
                if tag!='a' and not u.startswith('data:'): yield f'{name}: fetched from elsewhere: {u}'
            elif not to.is_file(): yield f'{name}: no such file: {u}'
            elif frag and to in pages and frag not in pages[to].ids: yield f'{name}: no such place: {u}'
            elif tag=='img': size += to.stat().st_size
        if size>max_bytes: yield f'{name}: {size:,} bytes, {max_bytes:,} at most'
    for f in dest.rglob('*.css'):
        for u in re.findall(r'(?:@import|url\()\s*["\']?(?:https?:)?//[^"\')\s]+', f.read_text(encoding='utf-8')): yield f'{f.name}: {u}'

def forward(dest, f):
    "nbdev knows a page without its number: that address leads on, to the same name"
    old,new = dest/_nbpath2html(f),f.with_suffix('.html').name
    if old.exists(): return
    to = f'"{new}"+location.hash.replace("#","#{old.stem}-").replace(/[._]+/g,"-").replace(/-$/,"")'
    old.write_text(f'<!doctype html><meta charset="utf-8"><title>{new}</title><p><a href="{new}">{new}</a></p>\n'
        f'<script>location.replace({to})</script>\n', encoding='utf-8')

@call_parse
def main():
    "Process the notebooks, build the site, check it"
    cfg = get_config()
    proc,dest = cfg.config_path/'_proc',cfg.doc_path
    for d in (proc, dest): shutil.rmtree(d, ignore_errors=True)
    files = sorted((f.relative_to(cfg.nbs_path) for f in nbglob(cfg.nbs_path, as_path=True)), key=place)
    done = {f: process(cfg.nbs_path/f) for f in files}
    nbs,link = {f: nb for f,(nb,_) in done.items()},Links(cfg, {f: names for f,(_,names) in done.items()})
    road(nbs)
    src,out = proc/'nbs',proc/'html'
    shutil.copytree(cfg.nbs_path, src, ignore=shutil.ignore_patterns('*.ipynb', '.*', '_*')) # pictures
    for f,nb in nbs.items():
        for c in nb.cells:
            if c.cell_type=='markdown': c.source = link(c.source, f)
        nbformat.write(nb, src/f)
    rc = build_main(['-q', '-W', '-E', '-c', str(Path(__file__).parent/'site'), '-d', str(proc/'doctrees'), str(src), str(out)])
    if rc: sys.exit(rc)
    shutil.move(out, dest)
    for f in files: forward(dest, f)
    bad = sorted(faults(dest))
    print('\n'.join([*bad, f'{len(files)} pages in {dest}, {len(bad)} faults']))
    sys.exit(1 if bad or not files else 0)
