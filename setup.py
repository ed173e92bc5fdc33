"Metadata lives in settings.ini: edit there, not here"
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

ini = ConfigParser(delimiters=['='])
ini.read('settings.ini', encoding='utf-8')
cfg,readme = ini['DEFAULT'],Path('README.md')
_extra = '_requirements'
extras = {k.removesuffix(_extra): v.split() for k,v in cfg.items() if k.endswith(_extra)}
pythons = [f'Programming Language :: Python :: {v}' for v in cfg['python_versions'].split()]

setup(name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    project_urls={'Documentation': cfg['doc_host']+cfg['doc_baseurl']},
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Developers', *pythons],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '', long_description_content_type='text/markdown',
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path']+'.*']), python_requires='>='+cfg['min_python'],
    install_requires=cfg['requirements'].split(), extras_require=extras,
    # the second group lets nbdev turn `name` in prose into a link to the page of name
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]})
