"A published number, by our own reader, encoder, search and metric"
import os
import pytest
from leaf_nb.evaluate import compare, load_beir, teacher_sides
from leaf_nb.teacher import as_teacher

@pytest.mark.skipif(not os.environ.get('LEAF_SLOW'), reason='embeds 5,183 abstracts, some 4 minutes on two cores: set LEAF_SLOW=1')
def test_scifact_is_as_published(shared):
    task = load_beir(shared/'data'/'eval'/'scifact')
    assert (len(task.documents), len(task.queries))==(5183, 300)
    sides = teacher_sides(as_teacher('offline', device='cpu'), task)
    assert abs(compare(task, sides, sides)['teacher']-.6451) < .0005
