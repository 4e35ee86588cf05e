//! Sizes that nobody can mean.

use super::*;

#[test]
fn absurd_sizes_are_refused_before_memory_is_taken() {
    const HUGE: i64 = 1 << 40;
    let of = |node: NodeProto, constants: Vec<TensorProto>| model(vec![node], constants);
    let small = || floats("w", &[1, 1], &[1.0]);
    let image = || floats("w", &[1, 1, 2, 2], &[1.0; 4]);
    let number = |name: &str, value: i64| ints(name, &[], &[value]);
    let text = |name, text| attribute(name, Is::Text(text));
    let chain = |last: NodeProto| {
        // Each step is allowed, and what the last makes of them is not.
        let wide = node("Expand", &["w", "s"], &["a"]);
        let nodes = vec![wide, node("Transpose", &["a"], &["b"]), last];
        model(nodes, vec![small(), vector("s", &[1, 1 << 20])])
    };
    refused(
        "absurd",
        vec![
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[HUGE])]),
                "ConstantOfShape \"the_constantofshape\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[1 << 31, 1 << 33])]),
                "ConstantOfShape \"the_constantofshape\": 2147483648 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[-1])]),
                "ConstantOfShape \"the_constantofshape\": -1 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("ConstantOfShape", &["s"], &["y"]), vec![vector("s", &[0, HUGE])]),
                "ConstantOfShape \"the_constantofshape\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Expand", &["w", "s"], &["y"]), vec![small(), vector("s", &[HUGE, 1])]),
                "Expand \"the_expand\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Tile", &["w", "s"], &["y"]), vec![small(), vector("s", &[i64::MAX, i64::MAX])]),
                "Tile \"the_tile\": 9223372036854775807 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(node("Tile", &["w", "s"], &["y"]), vec![small(), vector("s", &[1 << 20, 1 << 20])]),
                "Tile \"the_tile\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                of(node("Range", &["a", "b", "c"], &["y"]), vec![number("a", 0), number("b", HUGE), number("c", 1)]),
                "Range \"the_range\": a tensor of shape [1099511627776] has more than 1073741824 elements",
            ),
            (
                of(node("Range", &["a", "b", "c"], &["y"]), vec![number("a", 0), number("b", 1), number("c", 0)]),
                "Range \"the_range\": the range is too long, or its step is 0",
            ),
            (
                of(
                    node("Range", &["a", "b", "c"], &["y"]),
                    ["a", "b", "c"].map(|name| floats(name, &[], &[if name == "b" { 1e30 } else { 1.0 }])).into(),
                ),
                "Range \"the_range\": a tensor of shape [18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(node("Pad", &["w", "s"], &["y"]), vec![small(), vector("s", &[0, i64::MAX, 0, i64::MAX])]),
                "Pad \"the_pad\": a tensor of shape [1, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    with(node("Pad", &["w", "s"], &["y"]), vec![text("mode", "edge")]),
                    vec![small(), vector("s", &[0, i64::MAX, 0, i64::MAX])],
                ),
                "Pad \"the_pad\": a tensor of shape [18446744073709551615] has more than 1073741824 elements",
            ),
            (of(node("Pad", &["w", "s"], &["y"]), vec![small(), vector("s", &[0, i64::MIN, 0, 0])]), "it is loaded"),
            (
                of(node("Resize", &["w", "", "", "s"], &["y"]), vec![image(), vector("s", &[1, 1, HUGE, HUGE])]),
                "Resize \"the_resize\": a tensor of shape [1, 1, 1099511627776, 1099511627776] has more than 1073741824 elements",
            ),
            (
                of(
                    node("Resize", &["w", "", "s"], &["y"]),
                    vec![image(), floats("s", &[4], &[1.0, 1.0, 1e30, f32::INFINITY])],
                ),
                "Resize \"the_resize\": a tensor of shape [1, 1, 18446744073709551615, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    with(
                        node("Resize", &["w", "", "s"], &["y"]),
                        vec![text("mode", "linear"), attribute("antialias", Is::Int(1))],
                    ),
                    vec![image(), floats("s", &[4], &[1.0, 1.0, 1e-30, 1.0])],
                ),
                "Resize \"the_resize\": a tensor of shape [4, 18446744073709551615] has more than 1073741824 elements",
            ),
            (
                of(
                    node("OneHot", &["i", "d", "v"], &["y"]),
                    vec![vector("i", &[1, 2]), number("d", HUGE), floats("v", &[2], &[0.0, 1.0])],
                ),
                "OneHot \"the_onehot\": a tensor of shape [2, 1099511627776] has more than 1073741824 elements",
            ),
            (
                of(
                    node("OneHot", &["i", "d", "v"], &["y"]),
                    vec![vector("i", &[1, 2]), number("d", -1), floats("v", &[2], &[0.0, 1.0])],
                ),
                "OneHot \"the_onehot\": a depth of -1",
            ),
            (
                model(
                    vec![node("Expand", &["w", "s"], &["a"]), node("EyeLike", &["a"], &["y"])],
                    vec![small(), vector("s", &[HUGE, HUGE])],
                ),
                "Expand \"the_expand\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(
                    with(node("Conv", &["w", "k"], &["y"]), vec![attribute("pads", Is::Ints(&[1 << 29; 4]))]),
                    vec![image(), floats("k", &[1, 1, 1, 1], &[1.0])],
                ),
                "Conv \"the_conv\": a tensor of shape [1, 1, 1073741826, 1073741826] has more than 1073741824 elements",
            ),
            (
                of(
                    with(node("ConvTranspose", &["w", "k"], &["y"]), vec![attribute("strides", Is::Ints(&[HUGE; 2]))]),
                    vec![image(), floats("k", &[1, 1, 1, 1], &[1.0])],
                ),
                "ConvTranspose \"the_convtranspose\": 1099511627776 is no size of a dimension, which is at most 1073741824",
            ),
            (
                of(
                    with(
                        node("MaxPool", &["w"], &["y"]),
                        vec![
                            attribute("kernel_shape", Is::Ints(&[1 << 28; 2])),
                            attribute("pads", Is::Ints(&[1 << 29; 4])),
                        ],
                    ),
                    vec![image()],
                ),
                "MaxPool \"the_maxpool\": a tensor of shape [1, 1, 805306371, 805306371] has more than 1073741824 elements",
            ),
            (
                chain(node("Add", &["a", "b"], &["y"])),
                "Add \"the_add\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("Less", &["a", "b"], &["y"])),
                "Less \"the_less\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("MatMul", &["b", "a"], &["y"])),
                "MatMul \"the_matmul\": a tensor of shape [1048576, 1048576] has more than 1073741824 elements",
            ),
            (
                chain(node("Reshape", &["a", "w"], &["y"])),
                "Reshape \"the_reshape\": [1, 1048576] cannot be reshaped to [1]",
            ),
            (
                of(node("HannWindow", &["n"], &["y"]), vec![number("n", HUGE)]),
                "HannWindow \"the_hannwindow\": a tensor of shape [1099511627776] has more than 1073741824 elements",
            ),
            (
                of(with(node("RandomNormal", &[], &["y"]), vec![attribute("shape", Is::Ints(&[HUGE]))]), vec![]),
                "it is loaded",
            ),
        ],
    );
}

#[test]
fn inputs_of_absurd_shapes_are_not_tried() {
    let folder = Folder::new("inputs");
    let relu = |dtype: i32, dims: &[i64]| {
        of(graph(vec![node("Identity", &["x"], &["y"])], &[info("x", dtype, dims)], &["y"]), vec![])
    };
    let too_large = "its inputs are too large to try it";
    for (dtype, dims, unbatched) in [
        // Dimension 0 is the batch's.
        (FLOAT, &[1_i64 << 40][..], None),
        (STRING, &[1 << 40], None),
        (FLOAT, &[1, 1 << 40], Some(too_large)),
        (FLOAT, &[-1, 1 << 40], Some(too_large)),
        (FLOAT, &[-1, i64::MAX, i64::MAX], Some(too_large)),
        (FLOAT, &[-1, 1 << 26], Some(too_large)),
        (STRING, &[-1, 1 << 40], Some(too_large)),
    ] {
        let found = description(&folder, &relu(dtype, dims));
        assert_eq!(found.unbatched.as_deref(), unbatched, "{dims:?}");
    }
    // Each is small, and all together are not.
    let names: Vec<String> = (0..300).map(|at| format!("x{at}")).collect();
    let infos: Vec<ValueInfoProto> = names.iter().map(|name| info(name, FLOAT, &[1, 1 << 18])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = of(graph(vec![node("Sum", &names, &["y"])], &infos, &["y"]), vec![]);
    assert_eq!(description(&folder, &many).unbatched.as_deref(), Some(too_large));
}
