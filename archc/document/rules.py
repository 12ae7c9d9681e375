"""Every diagnostic's id, once: what it means, an example, and the exit code it leads to.

Ids are stable: scripts and CI filters depend on them. `archc explain ID` prints a rule; a test holds this table equal
to the ids that the source uses.
"""

from __future__ import annotations

from dataclasses import dataclass

from archc.document.diagnostics import Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """What one diagnostic id means. `exit_code` is 1 where the spec is wrong, 2 where the command line is."""

    id: str
    severity: Severity
    summary: str
    explanation: str
    example: str
    exit_code: int


def _error(id: str, summary: str, explanation: str, example: str, exit_code: int = 1) -> Rule:
    return Rule(id, "error", summary, explanation, example, exit_code)


_TABLE = (
    # Finding and reading files
    _error(
        "file-not-found",
        "there is no such file, and no bundled spec of that name",
        "A spec is named by its path, or, for the specs that come with archc, by its bare name. `archc list` shows "
        "those.",
        "archc report mnv3_smal",
        2,
    ),
    _error(
        "not-a-file",
        "the path is a directory",
        "Name one spec file, not the directory that holds it.",
        "archc report specs/",
        2,
    ),
    _error(
        "unreadable-file",
        "the operating system refuses to read the file",
        "The file exists, but it cannot be read: look at its permissions.",
        "archc report /srv/private.yaml",
        2,
    ),
    _error(
        "not-utf8",
        "the file is not UTF-8 text",
        "Spec files are UTF-8, with or without a byte order mark. Save the file in that encoding.",
        "name: caf\\xe9    # saved as Latin-1",
    ),
    _error(
        "yaml-syntax",
        "the file is not YAML",
        "The YAML parser stopped here. What it needed often stands one line earlier: a bracket not closed, a missing "
        "colon, a tab in the indentation.",
        "stages: {stem: [",
    ),
    _error(
        "yaml-documents",
        "the file holds several YAML documents",
        "One file is one spec. Split the file at its `---` lines.",
        "name: a\n---\nname: b",
    ),
    _error(
        "yaml-tag",
        "a YAML tag, such as `!!python/object`",
        "A spec holds plain data only. Tags could construct arbitrary objects, so none is accepted.",
        "name: !!python/name:os.system x",
    ),
    _error(
        "yaml-key",
        "a key that is not a plain word",
        "Keys are words. A list or a mapping cannot be a key.",
        "? [a, b]\n: 1",
    ),
    _error(
        "duplicate-key",
        "a key given twice in one mapping",
        "YAML parsers silently keep one of the two values; archc refuses to guess which was meant.",
        "dropout: 0.2\ndropout: 0.1",
    ),
    _error(
        "empty-spec",
        "the file holds nothing",
        "The file is empty, or holds only comments.",
        "# nothing but a comment",
    ),
    _error(
        "not-a-mapping",
        "the top of the file is not a mapping",
        "A spec is a mapping of keys to values: `name: …`, `stages: …`.",
        "- conv\n- pool",
    ),
    _error(
        "too-deep",
        "values nested too deeply",
        "No spec nests this deep. The limit keeps a broken or hostile file from exhausting memory.",
        "vars: {a: [[[[[[ … ]]]]]]}",
    ),
    _error(
        "too-large",
        "a spec, a sweep or a value larger than any network needs",
        "Files, aliases, repeats, inheritance and sweeps have generous limits, so that a mistake ends in a message "
        "rather than in a hang.",
        "archc report mnv3_small 'width_mult=range(0.1,9,0.00001)'",
    ),
    # Keys and values
    _error(
        "unknown-key",
        "a key that does not exist here",
        "Nothing is silently ignored: a key that is not of the spec, of a settings group or of the row's block is an "
        "error, in a file as in an override. Names of your own go under `vars`. An override that adds to `stages`, "
        "`vars`, `outputs` or `table.defaults` says so with `+`.",
        "stages: {c1: [{block: conv, kernal: 5, out: 40}]}",
    ),
    _error(
        "missing-key",
        "a key that is needed",
        "A block's row leaves out a column that has no default; or a spec has no `stages`; or a row names no `block` "
        "and there is no `table.block` to fill it in.",
        "stages: {c1: [{block: conv, kernel: 3}]}    # no `out`",
    ),
    _error(
        "invalid-value",
        "a value of the wrong kind, or out of range",
        "The message says what is expected. `true` is not a number, `4.0` is not a whole number, and `nan` is not a "
        "value.",
        "width_mult: large",
    ),
    _error(
        "conflicting-settings",
        "two settings that contradict each other",
        "Both are valid alone, but they cannot hold together. Remove one.",
        "dilated: true\noutput_stride: 8",
    ),
    _error(
        "interpolation",
        "a `${…}` that cannot be resolved",
        "It names nothing, or itself by way of others, or expands without bound. A spec's references are fixed: they "
        "are not computed from other values.",
        'dropout: "${dropuot}"',
    ),
    # Tables and rows
    _error(
        "bad-table",
        "a row written as a list that no table explains",
        "A row may be a list only under `table: {block: …, columns: […]}`, whose columns name its cells, each once.",
        "stages: {c1: [[3, 16, 1]]}    # no `table`",
    ),
    _error(
        "row-length",
        "a row with more or fewer cells than the table has columns",
        "Every cell of a row written as a list stands under a column. `null` leaves a cell out; a row written as a "
        "mapping may leave keys out or add others.",
        "table: {block: conv, columns: [kernel, out, stride]}\nstages: {c1: [[3, 16]]}",
    ),
    _error(
        "unknown-block",
        "a `block` that is not registered",
        "Blocks are archc's own, those of installed packages (entry points of the group `archc.blocks`), or a class by "
        "its path `package.module:Class`.",
        "stages: {c1: [{block: invertedresidual, out: 16}]}",
    ),
    _error(
        "bad-block",
        "a `block` that cannot be imported, or is none",
        "The path `package.module:Class` must import, and name a subclass of `archc.Block`.",
        "stages: {c1: [{block: 'my.module:Blok'}]}",
    ),
    _error(
        "block-not-allowed",
        "a `block` whose module may not be imported",
        "Importing a module runs its code, and a spec may come from a stranger. So `package.module:Class` is imported "
        "only from packages that you allow: `--allow-blocks PACKAGE`, `archc.load(…, allow=[PACKAGE])`, or the "
        "environment variable `ARCHC_ALLOW_BLOCKS`, a list separated by commas. A package allows its submodules. The "
        "spec inside a file of weights never imports anything.",
        "stages: {c1: [{block: 'my.module:Block'}]}    # without `--allow-blocks my`",
    ),
    # Inheritance
    _error(
        "bad-defaults",
        "a `defaults` list that is malformed",
        "`defaults` lists the specs to inherit, in Hydra's order: later entries win, and `_self_` stands for the file "
        "itself.",
        "defaults: mnv3_large    # not a list",
    ),
    _error(
        "unknown-parent",
        "a parent spec that does not exist",
        "A parent is looked for beside the file that names it, then among the bundled specs.",
        "defaults: [mnv3_larg, _self_]",
    ),
    _error(
        "inheritance-cycle",
        "specs that inherit each other in a circle",
        "A spec cannot be its own ancestor. The message shows the circle.",
        "defaults: [b]    # in a.yaml, while b.yaml says defaults: [a]",
    ),
    # Overrides
    _error(
        "override-syntax",
        "an override that cannot be read",
        "Overrides follow Hydra's grammar: `key=value`, `+key=value` adds, `++key=value` adds or changes, `~key` "
        "deletes. A sweep such as `key=1,2` gives several specs, so it fits only where several are wanted. Quote "
        "values that hold commas, brackets or spaces, and mind that the shell removes one layer of quotes.",
        "archc report mnv3_small width_mult",
        2,
    ),
    _error(
        "override-conflict",
        "an override that does not fit what is there",
        "`+key=value` adds a key that must not exist yet; `~key=value` deletes a key only if it has that value.",
        "archc report mnv3_small +width_mult=0.5",
        2,
    ),
    # Wiring
    _error(
        "unknown-reference",
        "a reference to a stage, row or part that does not exist",
        "`from`, `to`, `outputs` and `tail` name `input`, a stage (`c3`), a row of it counted from 0 (`c5.0`), or a "
        "part of a row (`c5.0.expand`).",
        "outputs: [c3, c9]",
    ),
    _error(
        "forward-reference",
        "a row that takes its input from one below it",
        "Data flows downwards: a row can use only the rows above it.",
        "stages: {c1: [{block: conv, out: 8, from: c2}], c2: [{block: pool}]}",
    ),
    _error(
        "duplicate-output",
        "two outputs of one name",
        "In a list, an output goes by its reference; to return a value twice, write a mapping of names to references.",
        "outputs: [c3, c3]",
    ),
    # Detectors
    _error(
        "anchor-levels",
        "anchors, or something else of each level, for more or fewer levels than there are",
        "A detector's levels are the spec's `outputs`. What is stated for each level needs one value for every output, "
        "or one that stands for all; and a region proposal network, which has one head for all levels, needs as many "
        "anchors at a position on each.",
        "archc report fasterrcnn_resnet50_fpn ~outputs.pool    # and still five lists of `anchors.sizes`",
    ),
    # Passes and shapes
    _error(
        "no-tail",
        "`reduced_tail` without a `tail`",
        "`reduced_tail` halves the channels of the stages that `tail` names, so it needs one.",
        "reduced_tail: true    # and no `tail: [c5, head]`",
    ),
    _error(
        "cannot-dilate",
        "a stride that dilation cannot replace",
        "`dilated` and `output_stride` turn late strides into dilation. This row has such a stride, but its block has "
        "no `dilation` column.",
        "output_stride: 1    # with a strided `pool`",
    ),
    _error(
        "unknown-transform",
        "a transform that does not exist",
        "Transforms are archc's own, those that were registered (`archc.transforms.register`), and those of installed "
        "packages (entry points of the group `archc.transforms`). A file of weights may name one, too, if it holds the "
        "weights of a rewritten network.",
        "archc build mnv3_small --transform fold_norm",
        2,
    ),
    _error(
        "shape",
        "a row that cannot take its input",
        "The shapes do not fit: a window larger than the image, heads or groups that do not divide the channels, a sum"
        " of different shapes, an image where a vector is needed.",
        "archc report mobilevit_s stages.c3.1.heads=7",
    ),
    # Images and predictions
    _error(
        "no-images",
        "a path that stands for no image",
        "Images are files, directories (for the images directly inside) or globs in quotes. Nothing is predicted "
        "until each of them stands for something.",
        "archc predict my_network/ phtoos/",
        2,
    ),
    _error(
        "unreadable-image",
        "an image that cannot be read from the disk",
        "The path exists, but the operating system refuses to read it, or it is no file. The image is skipped, the "
        "others are not.",
        "archc predict my_network/ /srv/private.jpg",
    ),
    _error(
        "not-an-image",
        "a file that is no image",
        "Its first bytes are not those of a format that is read, whatever its suffix. The file is skipped, the others "
        "are not.",
        "archc predict my_network/ notes.txt",
    ),
    _error(
        "damaged-image",
        "an image that is truncated or corrupt",
        "It begins as an image does, but it cannot be decoded to its end. The image is skipped, the others are not.",
        "archc predict my_network/ half_a_download.jpg",
    ),
    _error(
        "image-too-large",
        "an image with too many pixels",
        "Pillow's limit against decompression bombs applies to the image and to its resized copy: a long and narrow "
        "image grows as its shorter side does. For a mask, where the whole image goes through the network, the limit "
        "is 32 times the network's own input. The image is skipped, the others are not.",
        "archc predict my_network/ one_pixel_wide.png",
    ),
    _error(
        "image-size",
        "an image of a shape that the network cannot take",
        "For a mask, the whole image is resized, and the input gets its proportions. Where a network joins features "
        "of several resolutions, some sizes do not come out even; `{block: resize, to: …}` before the join takes all "
        "of them. The image is skipped, the others are not.",
        "archc predict my_segmenter/ panorama.jpg",
    ),
    _error(
        "unsupported-image",
        "an image with more than one meaning in 8 bits, or one that is far too narrow",
        "Floating-point numbers, integers of unknown range and CIE LAB colours can be shown in several ways, and the "
        "prediction depends on the way. A detector resizes images, and nothing would be left of the shorter side of a "
        "very narrow one. The image is skipped, the others are not. In Python, what is passed as an image has to be "
        "one: a path, a PIL image, or a `uint8` array.",
        "archc predict my_network/ elevation.tif    # in float32",
    ),
    _error(
        "not-a-classifier",
        "a network whose outputs are no scores of classes",
        "Classes are predicted: for an image (a vector of scores), for its pixels (an image of scores), or for what is "
        "inside boxes (a spec with a `detector`). This network returns features, which happens when `outputs` names a "
        "stage in the middle; or it takes a number of channels that images do not have.",
        "archc predict mnv3_small outputs=[c3,c5] --weights mnv3.pth cat.png",
        2,
    ),
    _error(
        "no-weights",
        "a network without weights, or weights without their spec",
        "A prediction needs both: a spec with `--weights`, a directory that `archc build -o` wrote, or archc's own "
        "`.safetensors` or `.keras` file, which states its spec. A checkpoint of another library has no spec in it.",
        "archc predict mnv3_small cat.png    # without `--weights`",
        2,
    ),
    _error(
        "exported-file",
        "an exported file that nothing can be predicted with",
        "A file that archc exported states its network, so it predicts alone. A file of another program does not say "
        "how an image becomes its input, and what its outputs are. A detector's file with raw outputs predicts "
        "nothing either: export it with `--nms`. Or predict with the network itself, a spec and its weights.",
        "archc predict from_elsewhere.onnx cat.png",
    ),
    _error(
        "onnx-file",
        "an ONNX file that cannot be priced",
        "A file of another program is priced by its own graph: every operation has to be one of ONNX's own whose "
        "multiply-accumulates are known, and the sizes of everything have to follow from the image's.",
        "archc report with_custom_operations.onnx",
    ),
    _error(
        "unused-option",
        "an option that does not fit what the network does",
        "`top` limits classes or boxes, and `threshold` leaves out boxes; another task has no use for them. Nor can a "
        "built detector return boxes that it has dropped itself.",
        'archc.predict(segmenter, "cat.png", top=3)',
        2,
    ),
    _error(
        "no-device",
        "a device that cannot be used",
        "The device is named as torch names it, and it must be there: `cuda` needs an NVIDIA GPU, `mps` an Apple one.",
        "archc predict my_network/ cat.png --device cuda:7",
        2,
    ),
    _error(
        "mask-crop",
        "a mask of a cropped image",
        "A mask gives every pixel of an image its class, so nothing of the image is cut off: its shorter side is "
        "resized to `input.size`, whatever `input.crop` a classifier's spec states. An override of it asks for what "
        "cannot be done.",
        "archc predict my_segmenter/ cat.png input.crop=0.875",
    ),
    _error(
        "class-names",
        "class names that do not fit the network",
        "The file given by `--classes` has one name per line, in UTF-8: one for each class, in the network's order. "
        "For masks and boxes, class 0 is the background, so the first name is the background's.",
        "archc predict my_network/ cat.png --classes names.txt    # 999 names for 1000 classes",
        2,
    ),
    _error(
        "not-finite",
        "scores that are nan or inf",
        "The network computes nan or inf for this image; most likely a weight holds one. A detector with such weights "
        "would find nothing, without an error, so it is not run at all. Loading such weights gives a warning with this "
        "id that names the tensors.",
        "archc predict mnv3_small --weights diverged.pth cat.png",
    ),
    # Weights
    _error(
        "weights-file",
        "a checkpoint that cannot be read, or is not trusted",
        "Safetensors files, what `torch.save` wrote, and `.keras` files of networks that archc built are read. A "
        "pickle that holds more than tensors could run code, so it is refused. So are pipes and devices, and `.keras` "
        "files whose arrays are compressed, linked, or inflate to many times their size. A file that was cut off or "
        "damaged is told apart from one of another format.",
        "archc weights mnv3_small model.onnx",
        2,
    ),
    _error(
        "weights-exists",
        "a file of weights that exists already",
        "Weights are never overwritten unasked.",
        "archc weights mnv3_small a.pth -o b.safetensors    # twice, without `--force`",
        2,
    ),
    _error(
        "weights-source",
        "names that belong to no known library, or not to the one named",
        "A checkpoint's tensors are found by the names that its library gives them. `--source` says whose they are "
        "where the names themselves do not.",
        "archc weights mnv3_small timm.safetensors --source torchvision",
        2,
    ),
    _error(
        "weights-names",
        "a network that a library has no names for",
        "Weights are written under another library's names only where its map names every layer of the network.",
        "archc weights mobilevit_s a.safetensors -o b.safetensors --names torchvision",
        2,
    ),
    _error(
        "weights-partial",
        "a stage or row to leave as it is that does not exist",
        "`--partial` names stages (`head`) or rows of them (`head.3`).",
        "archc weights mnv3_small a.pth --partial classifier",
        2,
    ),
    _error(
        "weights-network",
        "a module that archc did not build, or that was changed since",
        "The names of a module's weights follow from its spec. A module whose layers were replaced by hand is no "
        "longer what its spec says: change the spec instead, or leave those rows as they are with `partial`.",
        "archc.load_weights(torchvision.models.resnet50(), 'resnet50.pth')",
    ),
    _error(
        "weights-mismatch",
        "a checkpoint that does not fit the network",
        "Every tensor of the checkpoint and of the network must be accounted for; the notes say which rows differ, and "
        "the help which spec or which change would fit, if one is found. Nothing was loaded.",
        "archc weights mnv3_small mobilenet_v3_large.pth",
    ),
    _error(
        "weights-dtype",
        "numbers of the wrong kind",
        "Weights are dense tensors of floating-point numbers; they are converted into the module's own type. Integers, "
        "quantised and sparse tensors are not weights.",
        "{'stem.0.conv.weight': torch.ones(16, 3, 3, 3, dtype=torch.int8)}",
    ),
    _error(
        "unsupported-op",
        "an operation that a backend does not have",
        "A backend has a rule for each operation; those for torch and Keras have one for all of archc's own. The place "
        "is the row that needs the operation. Build with another backend, or add a rule to this one. A detector that "
        "torchvision's classes cannot be built around, and a rule that makes wrong tensors, are refused under this id, "
        "too.",
        "archc.build(graph_with_my_operation, backend='keras')",
    ),
    _error(
        "unsupported-form",
        "a target cannot write a network in this form",
        "Each target writes some precisions, and some networks for images of one size or one batch only. int8 needs "
        "the ranges of the network's values, which `archc quantize` gathers. Only detectors return boxes.",
        "archc export mnv3_small --weights mnv3.pth --to executorch --size any -o net.pte",
    ),
    _error(
        "export-differs",
        "an exported file does not compute what the network computes",
        "After a file is written, it is run beside the network, and the outputs are compared. If they differ by more "
        "than rounding explains, the file is not kept. Please report it: it is a fault of archc's or of the runtime's.",
        "archc export SPEC --weights FILE --to onnx -o net.onnx",
    ),
    _error(
        "low-agreement",
        "too few predictions of a network stay the same in int8",
        "`--min-agreement` states the share of images that must keep their most probable class. The file is not kept. "
        "More images to calibrate on may help; `--keep-float auto` leaves the rows that lose most in float, until "
        "enough predictions stay.",
        "archc quantize SPEC --weights FILE --calibrate photos -o net.onnx --min-agreement 0.98",
    ),
    Rule(
        "prediction-changed",
        "warning",
        "an image has another most probable class in int8",
        "int8 rounds every number of the network, so that classes of nearly equal probability may change places. "
        "`--sensitivity` shows which rows lose most, and `--keep-float` leaves rows in float.",
        "archc quantize SPEC --weights FILE --calibrate photos -o net.onnx --check more",
        0,
    ),
    _error(
        "wrong-ranges",
        "a file of ranges that cannot be used",
        "`ranges.json` belongs to one network with one set of weights. For another network, or after more training, "
        "the ranges are others: calibrate again, on images.",
        "archc quantize mobilenet_v2 --weights FILE --ranges other.json -o net.onnx",
    ),
    _error(
        "unknown-row",
        "the network has no row of this name",
        "`--keep-float` takes rows by stage and number, such as `c4.0`, as `archc report` lists them.",
        "archc quantize SPEC --weights FILE --calibrate photos -o net.onnx --keep-float c9.0",
        2,
    ),
    _error(
        "latency-table",
        "a latency table that cannot be used",
        "A latency table is a file that `archc bench --per-op` writes. Its networks were all measured under the same "
        "conditions: runtime and version, precision, threads, batch and machine. A network stands in it once, and "
        "nothing in it is replaced without `--force`.",
        "archc bench mnv3_small --per-op --threads 2 -o one_thread.json --append",
        2,
    ),
    _error(
        "unknown-latency",
        "an operation of which a latency table knows nothing",
        "A latency table prices operations that it has measured, and estimates others from those of their class: the "
        "same kind, kernel and activation. It cannot price a class of which nothing was measured. Measure a network "
        "that has such an operation into the table too.",
        "archc report mobilevit_s --latency measured_on_mnv3.json",
    ),
    _error(
        "weights-map",
        "a name map that cannot be used",
        "A name map says what a library calls the tensors of its networks. It is a YAML file with the keys `library` "
        "and `schemes`, whose names, parts and fields are checked. The names of archc's own maps are taken.",
        "archc.weights.register_map('mylib.yaml')",
        2,
    ),
    _error(
        "weights-transforms",
        "weights that were rewritten otherwise than the network",
        "Transforms such as `fold_norms` rewrite a network's weights. A file of rewritten weights fits only a network "
        "with the same transforms. One from before them is rewritten while it is loaded, always as a whole, so "
        "`partial` cannot leave a stage of a rewritten network as it is.",
        "archc.load_weights(archc.build('mnv3_small'), 'folded.safetensors')",
    ),
    # Warnings
    Rule(
        "weights-policy",
        "warning",
        "weights that were trained under another policy",
        "The shapes fit, but the library that the weights come from is known to normalise, pad, activate or prepare "
        "images otherwise than this spec says, so the outputs will differ from that library's.",
        "archc weights mnv3_large timm.safetensors    # eps 0.001 here, 1e-05 in timm",
        0,
    ),
    Rule(
        "stretched-image",
        "warning",
        "a file for masks that takes images of one size",
        "A mask covers the whole image, so an image of other proportions is stretched to the file's size, and the mask "
        "back to the image's. The network itself keeps proportions, so its mask may differ.",
        "archc predict lraspp.mlpackage street.jpg",
        0,
    ),
    Rule(
        "same-stride",
        "warning",
        "two levels of a detector that have one stride",
        "Their positions are the same, so the second adds boxes and cost, but no resolution. torchvision's MobileNetV3 "
        "pyramid is built so (pytorch/vision#5838): its last two stages both have stride 32.",
        "archc report fasterrcnn_mnv3_large_fpn",
        0,
    ),
    Rule(
        "unused-setting",
        "warning",
        "a setting that changes nothing",
        "The spec compiles, but this setting has no effect on it, so it is probably not what was meant.",
        "depth_mult: 2.0    # and no row has a `repeat`",
        0,
    ),
    Rule(
        "unused-row",
        "warning",
        "a row that nothing reads",
        "No other row and no output reads this row's output, so the network is built without it: a `from` may name the "
        "wrong row. What is cut off on purpose gives no warning: rows after the last of the stated `outputs`, and rows "
        "of a backbone after the last that a task's head reads.",
        "stages: {a: [{block: conv, out: 8}, {block: conv, out: 8, from: input}]}",
        0,
    ),
    Rule(
        "fixed-size",
        "warning",
        "a network that a flattened feature map ties to one input size",
        "A `linear` row flattens a feature map, so the number of its weights depends on the size of the input, and the "
        "network takes no other size. Most often a pool is missing before it. `flatten: true` on the row says that it "
        "is meant; `flatten: false` makes it an error.",
        "archc check mnv3_small '~stages.head.0'    # without the pool",
        0,
    ),
    Rule(
        "scaled-classes",
        "warning",
        "a number of classes that a multiplier changes",
        "The row's width is written as `${num_classes}`, but `width_mult` or `reduced_tail` scales it, so the network "
        "has another number of outputs than classes. `scale: fixed` on the row exempts it.",
        "width_mult: 0.5\nstages: {head: [{block: linear, out: '${num_classes}'}]}    # 504 outputs for 1000 classes",
        0,
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _TABLE}
