"What the docs say about a symbol: its call, its docstring, a table of its parameters"

import re
from html import escape
from inspect import Parameter, Signature, formatannotation

_empty = Parameter.empty

def _code(s):
    "`s` as code that may stand in a table cell, where a bare `|` would end it"
    return f'<code>{escape(s, quote=False)}</code>'.replace('|', '&#124;')

class _Name(str):
    "A default as the reader would type it"
    __repr__ = str.__str__

def _show(o): return _Name(getattr(o, '__name__', None) or repr(o))
def _anno(o): return '' if o is _empty else _code(o if isinstance(o, str) else formatannotation(o))
def _default(o): return '' if o is _empty else _code(_show(o))

def _doc(o):
    "A docment as the text of a table cell"
    if o in (None,_empty): return ''
    s = re.sub(r'`([^`]*[|][^`]*)`', lambda m: _code(m[1]), o)
    return s.replace('|', r'\|').replace('\n', '<br>')

def _row(nm, d): return f'| {nm} | {_anno(d.anno)} | {_default(d.default)} | {_doc(d.docment)} |'

def _table(sym):
    "Markdown table of the documented parameters of `sym`; nothing where none is documented"
    from fastcore.docments import docments
    ds = {k:v for k,v in docments(sym, full=True).items() if k!='self'}
    if not any(d.docment for d in ds.values()): return ''
    ret = ds.pop('return', None)
    rows = [_row(f'`{k}`', v) for k,v in ds.items()]
    if ret and (ret.docment or ret.anno not in (None,_empty)): rows.append(_row('**returns**', ret))
    return '\n'.join(['| | type | default | |', '|---|---|---|---|', *rows])

def _call(nm, sig):
    "`nm` with the names and defaults of `sig`; the types stand in the table"
    ps = [p.replace(annotation=_empty, default=_empty if p.default is _empty else _show(p.default)) for p in sig.parameters.values() if p.name!='self']
    return f'```python\n{nm}{Signature(ps)}\n```'

def render(sym, name=None, title_level=3):
    "The `renderer` of settings.ini. nbdev is imported here, so an installed leaf_nb does without it"
    from IPython.display import Markdown
    from nbdev.doclinks import NbdevLookup
    from nbdev.showdoc import BasicMarkdownRenderer
    o = BasicMarkdownRenderer(sym, name=name, title_level=title_level)
    src = NbdevLookup().code(o.fn)
    parts = ['#'*title_level + ' ' + o.nm.replace('_', r'\_'), f'[source]({src})' if src else '',
        _call(o.nm, o.sig) if o.sig else '', o.docs, _table(o.sym) if o.sig else '']
    return Markdown('\n\n'.join(p for p in parts if p))
