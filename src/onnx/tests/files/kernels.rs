//! What kernels do not bear does not reach them.

use super::*;

/// What the fuzzer builds graphs of.
#[test]
fn the_fuzzer_knows_all_operators() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/operators.txt");
    let text = fs::read_to_string(&path).expect("a list of operators");
    let known: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(known, crate::onnx::ops::names(), "{} is to list them", path.display());
}

/// What the fuzzer has found: each was a panic in a kernel.
#[test]
fn what_kernels_do_not_bear_does_not_reach_them() {
    let number = |name: &str, value: f32| floats(name, &[], &[value]);
    let int8 = |name: &str, dims: &[i64], values: &[i32]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 3,
        int32_data: values.to_vec(),
        ..Default::default()
    };
    let of = |operator: &str, attributes: Vec<AttributeProto>, constants: Vec<TensorProto>| {
        let names: Vec<&str> = constants.iter().map(|tensor| tensor.name.as_str()).collect();
        let node = with(node(operator, &names, &["y"]), attributes);
        model(vec![node], constants)
    };
    let classic = |operator: &str, constants: Vec<TensorProto>| {
        let mut model = of(operator, vec![], constants);
        "ai.onnx.ml".clone_into(&mut model.graph.mut_or_insert_default().node[0].domain);
        model
    };
    let strings = |name: &str, dims: &[i64]| TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: STRING,
        ..Default::default()
    };
    let row = || floats("a", &[3], &[1.0, 2.0, 3.0]);
    let image = || floats("a", &[1, 1, 2, 2], &[1.0; 4]);
    let kernel = || floats("b", &[1, 1, 1, 1], &[1.0]);
    let mut resize = node("Resize", &["a", "", "b"], &["y"]);
    resize.attribute.push(attribute("axes", Is::Ints(&[2, 2])));
    refused(
        "kernels",
        vec![
            (of("LRN", vec![attribute("size", Is::Int(3))], vec![row()]), "LRN \"the_lrn\": the input has no channels"),
            (
                model(vec![resize], vec![image(), floats("b", &[2], &[0.5, 0.5])]),
                "Resize \"the_resize\": an axis of [2, 2] is given twice",
            ),
            (
                of("Conv", vec![], vec![image(), kernel(), floats("c", &[3], &[1.0; 3])]),
                "Conv \"the_conv\": a bias of shape [1] was expected, found [3]",
            ),
            (
                of("Conv", vec![], vec![image(), int8("b", &[1, 1, 1, 1], &[1])]),
                "Conv \"the_conv\": input, weights and bias must be of one float dtype, found (F32, I8, None)",
            ),
            (of("MatMul", vec![], vec![int8("a", &[1, 1], &[2]), int8("b", &[1, 1], &[3])]), "it is loaded"),
            (
                of("Mod", vec![], vec![vector("a", &[1, 2]), vector("b", &[0, 1])]),
                "Mod \"the_mod\": an integer is divided by 0",
            ),
            (
                of("Reshape", vec![], vec![vector("a", &[1, 2, 3, 4]), vector("b", &[-1, -1])]),
                "Reshape \"the_reshape\": shape [4] cannot be reshaped to [-1, -1]",
            ),
            (
                of("Div", vec![], vec![vector("a", &[i64::MIN]), vector("b", &[-1])]),
                "Div \"the_div\": -9223372036854775808 divided by -1 is no int64",
            ),
            (
                of("Where", vec![], vec![row(), floats("b", &[3], &[1.0; 3]), floats("c", &[3], &[1.0; 3])]),
                "Where \"the_where\": a bool and two of one dtype were expected, found float32, float32 and float32",
            ),
            (of("GlobalMaxPool", vec![], vec![floats("a", &[1, 1, 0], &[])]), "it is loaded"),
            (of("Softmax", vec![], vec![floats("a", &[1, 0], &[])]), "it is loaded"),
            (
                classic("ArrayFeatureExtractor", vec![strings("a", &[1, 0]), ints("b", &[0], &[])]),
                "ArrayFeatureExtractor \"the_arrayfeatureextractor\": the rows have no features",
            ),
            (
                of(
                    "ReverseSequence",
                    vec![attribute("batch_axis", Is::Int(0))],
                    vec![floats("a", &[2, 2], &[1.0; 4]), vector("b", &[1, 2])],
                ),
                "ReverseSequence \"the_reversesequence\": axis 0 is both the batch's and time's",
            ),
            (
                of("Hardmax", vec![], vec![floats("a", &[1, 0], &[])]),
                "Hardmax \"the_hardmax\": shape [1, 0] has no extreme",
            ),
            (
                of("GlobalLpPool", vec![attribute("p", Is::Int(i64::MAX))], vec![image()]),
                "GlobalLpPool \"the_globallppool\": an exponent of 9223372036854776000 is not supported",
            ),
            (
                of("Celu", vec![attribute("alpha", Is::Float(0.5))], vec![vector("a", &[1])]),
                "Celu \"the_celu\": the input must be of a float dtype, found int64",
            ),
            (
                of("DynamicQuantizeLinear", vec![], vec![floats("a", &[0], &[])]),
                "DynamicQuantizeLinear \"the_dynamicquantizelinear\": there is nothing along axis 0 of shape [0]",
            ),
            (
                of("Pad", vec![], vec![vector("a", &[1]), vector("b", &[1, 1]), number("c", f32::INFINITY)]),
                "Pad \"the_pad\": inf is no integer to pad with",
            ),
        ],
    );
}
