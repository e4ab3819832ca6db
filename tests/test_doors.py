"""The public doors, by kinds of what comes to them, each on every backend that it can meet.

1. What may stand for an array of numbers: matrices, masked arrays, sparse matrices, frames, tensors
   with a gradient, other byte orders. Computed right, or refused by name; never half understood.
2. What a network may hold: a dict of arrays, each in memory of its own.
3. Outputs and targets that cannot mean what they say: one output that is a probability, rows that
   are no probabilities, values of a regression that look like labels.
4. Sizes that no memory holds.
5. Messages: one line of at most 300 characters, whatever the value.

The first kind stands here, the others in test_network_doors.py. What is refused changes nothing:
neither parameters, nor data, nor the generator.
"""

import numpy as np
import pytest
from doors import LABELS, T, X, assert_refused, assert_same, make, uses

pytest.importorskip("scipy.sparse")

import scipy.sparse

import fastnn
from fastnn import DtypeError, InputError, SimpleNet, functions
from fastnn.backends.numba.samples import SparseDataset, SparseRows


class Subclass(np.ndarray):
    """Computes in a way of its own, as a matrix does."""

    def __mul__(self, other):
        raise AssertionError("not as an array")

    __rmul__ = __sub__ = __rsub__ = __matmul__ = __mul__


@pytest.mark.parametrize("cls", [np.matrix, Subclass, np.ma.MaskedArray])
def test_arrays_of_a_class_of_their_own_are_arrays(backend, cls):
    net = make(backend)
    assert_same(net, X.copy().view(cls), T.copy().view(cls))
    y = functions.softmax(X)
    for function in (functions.mean_squared_error, functions.cross_entropy_error):
        t = np.eye(5)[[0, 1, 2, 3, 4, 0]]
        assert function(y.view(cls), t.view(cls)) == function(y, t)
    for name in ("relu", "sigmoid", "softmax", "maxout", "step_function", "sigmoid_grad", "tanh"):
        result = getattr(functions, name)(X.view(cls))
        assert type(result) is np.ndarray
        np.testing.assert_array_equal(result, getattr(functions, name)(X))


def test_the_losses_of_matrices():
    y, t = (a.view(np.matrix) for a in (np.full((3, 3), 0.2), np.eye(3)))
    assert functions.mean_squared_error(y, t) == pytest.approx(1.08)
    assert functions.cross_entropy_error(y, t) == pytest.approx(1.6094374)


def test_masked_values_are_refused(backend):
    masked = np.ma.array(X, mask=X > 0.8)
    rows = [*X[:5], np.ma.array(X[5], mask=[1, 0, 0, 0, 0])]
    net = make(backend)
    for x in (masked, rows):
        calls = uses(net, x) | {"predict": lambda x=x: net.predict(x)}
        assert_refused(net, calls, InputError, r"x\w* holds masked values.*filled")
    masked = np.ma.array(LABELS, mask=LABELS > 1)
    assert_refused(net, uses(net, X, masked), InputError, r"t\w* holds masked values")
    with pytest.raises(InputError, match="x holds masked"):
        functions.sigmoid(np.ma.array(X, mask=X > 0.8))


def test_what_is_still_to_be_computed_is_refused(backend):
    """It was computed as a whole, and nobody had asked for that."""
    da = pytest.importorskip("dask.array")

    def never(block):
        raise AssertionError("computed")

    x, t = (da.from_array(a).map_blocks(never, dtype=a.dtype, meta=a[:0]) for a in (X, T))
    net = make(backend)
    for given in (x, list(x)):
        calls = uses(net, given) | {"predict": lambda given=given: net.predict(given)}
        assert_refused(net, calls, DtypeError, r"x\w* is a dask\.array.*still to be computed")
    assert_refused(net, uses(net, X, t), DtypeError, r"t\w* is a dask\.array.*compute\(\)")
    with pytest.raises(DtypeError, match=r"x is a dask.*fastnn\.distributed\.train"):
        functions.sigmoid(x)


SPARSE = [
    *(scipy.sparse.csr_array, scipy.sparse.csr_matrix, scipy.sparse.csc_array),
    *(scipy.sparse.coo_array, scipy.sparse.lil_array),
]


@pytest.mark.parametrize("kind", SPARSE)
def test_sparse_samples_are_taken_as_they_are_or_refused(backend, kind):
    net, x = make(backend), kind(X)
    if backend.name == "numba":
        assert_same(net, x, LABELS)
        np.testing.assert_array_equal(net.predict(x), net.predict(X))
        assert isinstance(net.dataset(x, T), SparseDataset)
        np.testing.assert_array_equal(x.toarray(), X)
    else:
        calls = uses(net, x) | {"predict": lambda: net.predict(x)}
        assert_refused(net, calls, DtypeError, r"x\w* is sparse.*x\w*\.toarray\(\)")
    assert_refused(net, uses(net, X, kind(T)), DtypeError, r"t\w* is sparse.*t\w*\.toarray\(\)")


@pytest.mark.parametrize("kind", ["f4", "f8", ">f8", "i1", "?", "u2"])
def test_any_compressed_rows_are_those_that_are_meant(dtype, kind):
    """Out of order, of one place twice, zeros that are stored, of one sample."""
    values = np.array([3, 1, 0, 2, 2, 100, 100], kind)
    x = scipy.sparse.csr_array(
        (values, np.array([4, 0, 1, 2, 2, 3, 3]), np.array([0, 2, 2, 5, 7])), (4, 5)
    )
    before = [a.copy() for a in (x.data, x.indices, x.indptr)]
    for a in (x.data, x.indices, x.indptr):
        a.flags.writeable = False
    net = SimpleNet(5, 3, backend="numba", dtype=dtype, rng=0)
    for labels in ([0, 1, 2, 0],):
        assert net.loss(x, labels) == net.loss(x.toarray(), labels)
        expected = net.gradient(x.toarray(), labels)["W"]
        np.testing.assert_allclose(net.gradient(x, labels)["W"], expected, rtol=1e-6)
    entered = net.dataset(x, [0, 1, 2, 0]).x
    assert [a.dtype for a in entered] == [np.intp, np.uint16, dtype]
    assert (entered[2] != 0).all()
    for a, b in zip((x.data, x.indices, x.indptr), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert net.predict(scipy.sparse.coo_array(X[0])).shape == (3,)


def test_compressed_rows_that_need_no_change_are_not_copied():
    x = scipy.sparse.csr_array(X)
    rows = fastnn.get_backend("numba").sparse_samples(x, np.float64)
    assert isinstance(rows, SparseRows)
    assert rows.samples[2].__array_interface__["data"] == x.data.__array_interface__["data"]
    assert not np.shares_memory(rows.samples[0], x.indptr)  # kernels index by them, unchecked


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x: x.data.__setitem__(0, np.nan), r"x\[0, \d\] is nan"),
        (lambda x: x.indices.__setitem__(0, 9), "damaged"),
        (lambda x: x.indices.__setitem__(0, -1), "damaged"),
        (lambda x: x.indptr.__setitem__(1, 99), "damaged"),
        (lambda x: x.data.__setitem__(0, 1e300), "float32"),
    ],
)
def test_compressed_rows_that_are_none_are_refused(change, match):
    x, net = scipy.sparse.csr_array(X), make("numba", dtype="float32")
    change(x)
    with pytest.raises(InputError, match=match):
        net.predict(x)
    with pytest.raises(InputError, match=r"4 features.*takes 5"):
        net.predict(scipy.sparse.csr_array(X[:, :4]))
    with pytest.raises(InputError, match="holds nothing"):
        net.predict(scipy.sparse.csr_array((0, 5)))
    with pytest.raises(DtypeError, match="complex"):
        net.predict(scipy.sparse.csr_array(X + 1j))


def test_frames_of_numbers_are_arrays_and_others_name_a_remedy(backend):
    pd = pytest.importorskip("pandas")
    net, frame = make(backend), pd.DataFrame(X, columns=list("abcde"))
    assert_same(net, frame, pd.Series(LABELS, dtype="Int64"))
    nullable = frame.assign(a=pd.array([1, None, 2, 3, 4, 5], dtype="Int64"))
    words = frame.assign(b=list("uvwxyz"))
    for x, match in [
        (nullable, r"x\['a'\] has missing values: x.fillna\(0\)"),
        (nullable.fillna(0), r"x\.astype\(float\)"),
        (words, r"x\['b'\] holds none: drop that column"),
        (X.astype(object), r"object.*x\.astype\(float\)"),
    ]:
        assert_refused(net, {"predict": lambda x=x: net.predict(x)}, DtypeError, match)
    for t, match in [
        (pd.Series(list("abcabc")), r"t\.astype\(float\).*np\.unique\(t, return_inverse"),
        (pd.Series([0, 1, 2, 2, 1, None], dtype="Int64"), "labels must be of an integer dtype"),
    ]:
        assert_refused(net, {"loss": lambda t=t: net.loss(X, t)}, DtypeError, match)
    net.predict(nullable.fillna(0).astype(float))


def test_frames_of_polars(backend):
    pl = pytest.importorskip("polars")
    net, frame = make(backend), pl.DataFrame(X, schema=list("abcde"))
    assert_same(net, frame, pl.Series(LABELS))
    with pytest.raises(DtypeError, match=r"x\['b'\] holds none"):
        net.predict(frame.with_columns(b=pl.lit("word")))
    with pytest.raises(DtypeError, match=r"x\.collect\(\)"):
        net.predict(frame.lazy())


@pytest.mark.torch
def test_tensors_that_require_a_gradient_are_named(backend):
    torch = pytest.importorskip("torch")
    net, x = make(backend), torch.tensor(X, requires_grad=True)
    calls = uses(net, x) | {"predict": lambda: net.predict(x)}
    assert_refused(net, calls, DtypeError, r"x\w* is a torch.*x\w*\.detach\(\)")
    t = torch.tensor(T, requires_grad=True)
    assert_refused(net, uses(net, X, t), DtypeError, r"t\w* is a torch.*t\w*\.detach\(\)")
    assert_same(net, x.detach(), t.detach())
    sparse = x.detach().to_sparse()
    assert_refused(net, uses(net, sparse), DtypeError, r"x\w* is sparse.*to_dense\(\)")
    if backend.name == "torch":
        net.params["W1"] = torch.nn.Parameter(net.params["W1"])
        for call in uses(net).values():
            with pytest.raises(DtypeError, match=r"params\['W1'\].*detach"):
                call()


@pytest.mark.parametrize("kind", [">f8", ">f4", ">f2", ">i4", ">u2"])
def test_byte_order_makes_no_difference(backend, kind):
    x = (10 * X).astype(kind)
    for name in ("relu", "sigmoid", "softmax", "maxout", "identity_function", "relu_grad"):
        result = getattr(functions, name)(x)
        np.testing.assert_array_equal(
            result, getattr(functions, name)(x.astype(x.dtype.newbyteorder("=")))
        )
    assert_same(make(backend), x, LABELS.astype(">i2"), x.astype(float))


def test_read_only_views_are_samples(backend):
    x = X.copy()
    x.flags.writeable = False
    assert_same(make(backend), x[::-1], T[::-1], X[::-1].copy(), T[::-1].copy())
