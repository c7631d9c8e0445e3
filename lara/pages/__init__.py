"""The design system of every HTML page: what a page consists of, how it looks, how charts are drawn. No torch.

Pages are plain data (`blocks`), turned into one self-contained file by one template set (`render`). Every value is
escaped, and the page forbids itself scripts and anything from the network.
"""
