from tests import shapes as shapes  # found by the jaxtyping plugin as tests.shapes.checked
