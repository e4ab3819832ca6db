"""What a backend is beside its operations."""


def test_warm_up_and_synchronize_return_nothing(backend, dtype):
    assert backend.warm_up(dtype) is None
    assert backend.warm_up(dtype.name) is None
    assert backend.synchronize() is None
