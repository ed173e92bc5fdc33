"A published number, by our own reader, encoder, search and metric"
from leaf_nb.evaluate import Sides, compare, load_beir, teacher_sides
from leaf_nb.teacher import as_teacher

def test_scifact_is_as_published(shared):
    task = load_beir(shared/'data'/'eval'/'scifact')
    assert (len(task.documents), len(task.queries))==(5183, 300)
    sides = teacher_sides(as_teacher('offline', device='cpu'), task)
    assert abs(compare(task, sides, sides)['teacher']-.6451) < .0005
