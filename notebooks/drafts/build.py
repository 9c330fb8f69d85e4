"""percent-format source -> ipynb (tags after the marker)."""
import sys, re, nbformat, statistics
from nbformat.v4 import new_notebook, new_code_cell, new_markdown_cell
src, out = sys.argv[1:]
BOOT=open('/work/ch/bootstrap.py').read().strip("\n")
EXPECTED=open('/work/ch/expected.txt').read().strip()
cells=[]
for part in re.split(r"(?m)^# %%", open(src).read())[1:]:
    head, _, body = part.partition("\n")
    kind = "markdown" if "[md]" in head else "code"
    tags = re.findall(r"#(\w[\w-]*)", head)
    body = body.strip("\n").replace("BOOTSTRAP",BOOT).replace("EXPECTED",EXPECTED)
    c=(new_markdown_cell if kind=="markdown" else new_code_cell)(body)
    if tags: c.metadata["tags"]=tags
    cells.append(c)
nb=new_notebook(cells=cells, metadata={"kernelspec": {"display_name": "Python 3","language": "python","name": "python3"},"language_info":{"name":"python"}})
for i,c in enumerate(nb.cells): c["id"]=f"c{i:02d}"
nb.nbformat_minor=5
nbformat.write(nb,out)
code=[len(c.source.splitlines()) for c in nb.cells if c.cell_type=="code"]
prose=[len(c.source.split()) for c in nb.cells if c.cell_type=="markdown" and "solution" not in c.metadata.get("tags",[])]
print(len(nb.cells),"cells; code lines",sum(code),"median",statistics.median(code),"max",max(code),"prose median",statistics.median(prose),"max",sorted(prose)[-6:])
for c in nb.cells:
    if c.cell_type=="code":
        for l in c.source.splitlines():
            if len(l)>88: print("LONG",len(l),l)
