"What Sphinx has to know about the pages that tools/docs.py gives it"
from html import escape

from docutils.nodes import SkipNode
from nbdev.config import get_config
from ziamath import Latex, config

cfg = get_config()
project = html_title = cfg.title
author,version,release = cfg.author,cfg.version,cfg.version
copyright = cfg.copyright

extensions = ['myst_nb', 'sphinx_copybutton', 'sphinx.ext.githubpages']
myst_enable_extensions = ['dollarmath', 'amsmath']
myst_heading_anchors = 4
smartquotes = False # code in tables has quotes as well
nb_execution_mode = 'off' # what a page shows is what the notebook holds
nb_merge_streams = True
nb_render_markdown_format = 'gfm' # outputs may hold tables
suppress_warnings = ['myst.header'] # a name's heading may stand right below the title

html_theme,pygments_dark_style = 'furo','github-dark'
html_theme_options = dict(source_repository=cfg.git_url, source_branch=cfg.branch, source_directory=f'{cfg.nbs_path.name}/')
html_static_path,html_css_files,html_copy_source = ['_static'],['style.css'],False
html_math_renderer,html_use_index = 'svg',False
copybutton_selector = 'div:not(.highlight-myst-ansi) > div.highlight > pre' # outputs are there to be read
copybutton_prompt_text,copybutton_prompt_is_regexp = r'>>> |\.\.\. |\$ ',True

config.svg2,config.precision = False,2 # each equation by itself, to a hundredth of a pixel

def _math(inline):
    "Equations as drawings: no script and no font to load, and the same in every browser"
    def visit(self, node):
        tex = node.astext()
        m = Latex(tex, size=17, inline=inline, color='currentColor')
        svg = m.svg().replace('<svg', f'<svg role="img" aria-label="{escape(tex)}" style="vertical-align: {m.getyofst():.2f}px"', 1)
        self.body.append(svg if inline else f'<div class="math">{svg}</div>')
        raise SkipNode
    return visit, None

def setup(app): app.add_html_math_renderer('svg', _math(True), _math(False))
