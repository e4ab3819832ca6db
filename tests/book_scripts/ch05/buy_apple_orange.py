# coding: utf-8
from layer_naive import *

mul_apple, mul_orange, add, mul_tax = MulLayer(), MulLayer(), AddLayer(), MulLayer()
price = mul_tax.forward(add.forward(mul_apple.forward(100, 2), mul_orange.forward(150, 3)), 1.1)
dall, dtax = mul_tax.backward(1)
dapples, doranges = add.backward(dall)
dapple, dapple_num = mul_apple.backward(dapples)
print("price:", price)
